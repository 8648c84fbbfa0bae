from torsor.data import Dataset, nbody, sources


def test_every_source_says_what_it_is_and_how_to_have_it():
    for name, source in sources().items():
        assert source.name == name
        for word in (source.what, source.shapes, source.units, source.licence, source.origin, source.how):
            assert word


def test_generated_data_are_present_once_they_are_made(tmp_path, monkeypatch):
    monkeypatch.setattr("torsor.data._nbody._DRAWN", {"train": 2, "valid": 2, "test": 2})
    monkeypatch.setattr("torsor.data._nbody._INPUT_STEP", 2)
    monkeypatch.setattr("torsor.data._nbody._TARGET_STEP", 3)
    monkeypatch.setenv("TORSOR_CACHE", str(tmp_path))
    assert not sources()["nbody"].present
    assert sources()["nbody"].path == tmp_path
    nbody(train=1, valid=1, test=1)
    assert sources()["nbody"].present
    assert not sources()["nbody-clean"].present


def test_what_ships_with_a_dependency_is_always_present():
    source = sources()["digits"]
    assert source.present
    assert source.path is None
    assert isinstance(source.get(), Dataset)


def test_files_from_outside_are_present_where_they_are_all_there(tmp_path, monkeypatch):
    monkeypatch.delenv("TORSOR_DATA", raising=False)
    source = sources()["pedestrians"]
    assert not source.present
    assert source.path is None
    monkeypatch.setenv("TORSOR_DATA", str(tmp_path))
    assert source.path == tmp_path / "eth_ucy"
    assert not source.present
    (tmp_path / "eth_ucy").mkdir()
    for name in source.files[1:]:
        (tmp_path / "eth_ucy" / name).touch()
    assert not source.present
    (tmp_path / "eth_ucy" / source.files[0]).touch()
    assert source.present
