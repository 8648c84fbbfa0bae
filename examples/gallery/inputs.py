"""What the models of the gallery are shown: molecules, crystals, photographs and voices, from packages alone.

`python inputs.py FOLDER` writes `molecules.extxyz`, `crystals.extxyz`, `photos.npz`, `photos_channels_last.npz` and
`waves.npz`.
"""

import sys
from pathlib import Path

import numpy as np

RATTLE = 0.05  # Å: what a molecule at room temperature has, roughly
RATE = 16_000  # samples per second
SECONDS = 1.6  # what the speaker encoder takes at once
MEAN_BGR = (104.0, 117.0, 123.0)  # which the ONNX classifier wants to be subtracted


def molecules() -> list:
    """Six small molecules in the geometries of the G2 set, each atom moved by a normal draw of 0.05 Å."""
    from ase.build import molecule

    names = ("H2O", "CH3OH", "CH3CH2NH2", "C6H6", "HCOOH", "CH3Cl")
    return _rattled([molecule(name) for name in names])


def crystals() -> list:
    """Six crystals in their conventional cells: rock salt, zincblende, diamond, fcc, bcc and hcp, rattled likewise."""
    from ase.build import bulk

    cubic = {"cubic": True}
    return _rattled(
        [
            bulk("NaCl", "rocksalt", 5.64, **cubic),
            bulk("GaAs", "zincblende", 5.65, **cubic),
            bulk("Si", **cubic),
            bulk("Cu", **cubic),
            bulk("Fe", **cubic),
            bulk("Mg"),
        ]
    )


def photos(side: int = 224, count: int = 16, seed: int = 0) -> np.ndarray:
    """Square windows of the two photographs that scikit-learn ships, `(count, 3, side, side)`, values in [0, 1]."""
    from sklearn.datasets import load_sample_images

    random, windows = np.random.default_rng(seed), []
    for k in range(count):
        image = load_sample_images().images[k % 2]
        high = random.integers(side, min(image.shape[:2]) + 1)  # the window before it is made smaller
        top, left = (random.integers(0, size - high + 1) for size in image.shape[:2])
        windows.append(_resized(image[top : top + high, left : left + high], side))
    return np.stack(windows).transpose(0, 3, 1, 2).astype(np.float32) / 255


def voices(count: int = 8, seed: int = 0) -> np.ndarray:
    """Vowels of artificial voices, `(count, samples)` at 16 kHz: a train of pulses through three resonances.

    Pitch, formants and loudness move as in speech; the pulses are one-sided, as those of a throat are.
    """
    from scipy.signal import lfilter

    random = np.random.default_rng(seed)
    time, waves = np.arange(int(RATE * SECONDS)) / RATE, []
    for k in range(count):
        pitch = (100 if k % 2 else 200) * (1 + 0.1 * np.sin(2 * np.pi * (1 + random.random()) * time + k))
        phase = np.cumsum(pitch) / RATE
        wave = np.diff(np.floor(phase), prepend=0.0) + 0.01 * random.normal(size=len(time))
        for centre, width in ((300 + 500 * random.random(), 80), (900 + 1400 * random.random(), 120), (2600, 160)):
            radius = np.exp(-np.pi * width / RATE)
            wave = lfilter([1 - radius], [1, -2 * radius * np.cos(2 * np.pi * centre / RATE), radius**2], wave)
        wave *= 0.5 + 0.5 * np.sin(2 * np.pi * 3 * time + k) ** 2  # syllables
        waves.append(0.1 * wave / np.abs(wave).max())
    return np.stack(waves).astype(np.float32)


def write(folder: Path) -> None:
    """All of it as files. What needs a package that is not there is left out, and said so."""
    folder.mkdir(parents=True, exist_ok=True)
    images, waves = photos(), voices()
    np.savez(folder / "photos.npz", image=images)
    np.savez(folder / "photos_channels_last.npz", input_0=_blue_first(images))
    np.savez(folder / "waves.npz", wave=waves[..., None])
    try:
        from ase.io import write as write_structures

        write_structures(folder / "molecules.extxyz", molecules())
        write_structures(folder / "crystals.extxyz", crystals())
    except ImportError as error:
        print(f"no structures: {error}", file=sys.stderr)


def _blue_first(images: np.ndarray) -> np.ndarray:
    return 255 * images.transpose(0, 2, 3, 1)[..., ::-1] - np.asarray(MEAN_BGR, np.float32)


def _rattled(frames: list) -> list:
    for k, frame in enumerate(frames):
        frame.positions += RATTLE * np.random.default_rng(k).normal(size=frame.positions.shape)
    return frames


def _resized(window: np.ndarray, side: int) -> np.ndarray:
    """A window at another size, by Pillow."""
    from PIL import Image

    return np.asarray(Image.fromarray(window).resize((side, side), Image.Resampling.LANCZOS))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
