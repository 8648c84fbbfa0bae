"""An audit after every so many epochs of a training."""

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from torsor import O, Scalar, Symmetry, Vector, audit, learn
from torsor.data import Samples

X = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
DATA = Samples(X, X.norm(dim=1, keepdim=True))
LENGTHS = Symmetry(O(3), Vector(per="sample"), Scalar())


def trained(callbacks, **options):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 1))
    fabric = Fabric(accelerator="cpu", devices=1, callbacks=callbacks)
    return learn.fit(net, DATA, learn.mse, epochs=4, batch_size=8, fabric=fabric, **options)


def test_fit_logs_the_error_of_every_second_epoch(tmp_path):
    watch = audit.EquivarianceCallback(LENGTHS, X, every=2)
    result = trained([watch], loggers=[learn.CSVLogger(tmp_path / "log.csv")])
    assert ["equivariance_error" in entry for entry in result.history] == [False, True, False, True]
    assert result.history[-1]["equivariance_error"] == watch.report.error > 1e3 * watch.report.floor
    assert "equivariance_error" in (tmp_path / "log.csv").read_text()


def test_an_audit_changes_nothing_in_the_training():
    watched, alone = trained([audit.EquivarianceCallback(LENGTHS, X)]), trained([])
    assert [entry["train"] for entry in watched.history] == [entry["train"] for entry in alone.history]


@pytest.mark.parametrize("option", ["every", "samples"])
def test_numbers_below_one_are_refused(option):
    with pytest.raises(ValueError, match=f"{option} must be at least 1; got 0"):
        audit.EquivarianceCallback(LENGTHS, X, **{option: 0})


@pytest.mark.filterwarnings("ignore")  # Lightning's own
def test_a_trainer_of_lightning_takes_it(tmp_path):
    lightning = pytest.importorskip("pytorch_lightning", reason="needs pytorch-lightning")

    class Net(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(3, 1)

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch):
            return self(batch[0]).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    watch = audit.EquivarianceCallback(LENGTHS, X)
    rows = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X), batch_size=8)
    trainer = lightning.Trainer(
        max_epochs=2, callbacks=[watch], accelerator="cpu", default_root_dir=tmp_path, logger=False,
        enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Net(), rows)
    assert watch.epochs == 2
    assert float(trainer.callback_metrics["equivariance_error"]) == pytest.approx(watch.report.error)
