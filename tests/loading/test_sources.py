"""A scenario's sources: which files are packed, and how the cache verifies them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from amoc_gevent.core import codec
from amoc_gevent.core.messages import MessageError
from amoc_gevent.errors import UsageError
from amoc_gevent.loading import sources
from amoc_gevent.loading.loader import load
from amoc_gevent.loading.sources import SourceCache, Sources, pack


@pytest.fixture
def scenarios(tmp_path: Path) -> Path:
    """A directory with a scenario, its direct and indirect imports, and an unrelated file."""
    found = tmp_path / "scenarios"
    found.mkdir()
    (found / "shop.py").write_text(
        "import json\nfrom prices import of\n\ndef init():\n    import late\n\n"
        "def start(user_id):\n    return of(user_id)\n"
    )
    (found / "prices.py").write_text("import rates\n\ndef of(item):\n    return item * rates.VAT\n")
    rates = found / "rates"
    rates.mkdir()
    (rates / "__init__.py").write_text("VAT = 2\n")
    (rates / "table.csv").write_text("1,2\n")
    (found / "late.py").write_text("")
    (found / "unrelated.py").write_text("")
    (found / "requirements.txt").write_text("# none\n")
    return found


def files_of(data: bytes) -> set[str]:
    return set(codec.decode(Sources, data).files)


def test_only_a_scenario_and_its_local_imports_are_packed(scenarios: Path) -> None:
    _, data = pack(scenarios / "shop.py")
    assert files_of(data) == {
        "shop.py",
        "prices.py",
        "rates/__init__.py",
        "rates/table.csv",
        "late.py",
        "requirements.txt",
    }


def test_a_package_is_packed_whole_without_hidden_and_compiled_files(scenarios: Path) -> None:
    (scenarios / "rates/__pycache__").mkdir()
    (scenarios / "rates/__pycache__/x.pyc").write_text("")
    (scenarios / "rates/.secret").write_text("")
    (scenarios / "rates/sub").mkdir()
    (scenarios / "rates/sub/deep.py").write_text("import prices")
    _, data = pack(scenarios / "rates/__init__.py")
    assert files_of(data) == {
        "rates/__init__.py",
        "rates/table.csv",
        "rates/sub/deep.py",
        "prices.py",
        "requirements.txt",
    }


def test_a_copy_runs_where_the_original_is_missing(scenarios: Path, tmp_path: Path) -> None:
    sha, data = pack(scenarios / "shop.py")
    cache = SourceCache(tmp_path / "cache")
    assert cache.find("/not/here/shop.py", sha) is None
    cache.put(sha, data)
    found = cache.find("/not/here/shop.py", sha)
    assert found is not None
    assert found.is_relative_to(tmp_path / "cache")
    assert load(found).start(21) == 42
    cache.put(sha, data)
    assert SourceCache(tmp_path / "cache").find("/not/here/shop.py", sha) == found


def test_the_original_is_used_only_if_it_is_unchanged(scenarios: Path, tmp_path: Path) -> None:
    sha, _ = pack(scenarios / "shop.py")
    cache = SourceCache(tmp_path / "cache")
    assert cache.find(str(scenarios / "shop.py"), sha) == scenarios / "shop.py"
    (scenarios / "rates/table.csv").write_text("1,3\n")
    assert SourceCache(tmp_path / "cache").find(str(scenarios / "shop.py"), sha) is None


@pytest.mark.parametrize("edited", ["shop.py", "prices.py", "rates/table.csv"])
@pytest.mark.parametrize("edit", ["write", "replace", "remove"])
def test_an_original_that_is_edited_later_is_copied_as_it_was(
    scenarios: Path, tmp_path: Path, edited: str, edit: str
) -> None:
    sha, _ = pack(scenarios / "shop.py")
    cache = SourceCache(tmp_path / "cache")
    path = scenarios / edited
    size = path.stat().st_size
    for _ in range(3):
        assert cache.find(str(scenarios / "shop.py"), sha) == scenarios / "shop.py"
    if edit == "write":
        path.write_bytes(b"#" * size)
    elif edit == "replace":
        (tmp_path / "new").write_bytes(b"#" * size)
        (tmp_path / "new").replace(path)
    else:
        path.unlink()
    found = cache.find(str(scenarios / "shop.py"), sha)
    assert found is not None
    assert found.is_relative_to(tmp_path / "cache")
    assert load(found).start(21) == 42
    assert cache.find(str(scenarios / "shop.py"), sha) == found


def change_a_file(copy: Path) -> None:
    (copy / "prices.py").write_text("raise SystemExit")


def add_a_file(copy: Path) -> None:
    (copy / "json.py").write_text("raise SystemExit")


def name_another_main(copy: Path) -> None:
    (copy / ".main").write_text("/etc/passwd")


def let_others_write(copy: Path) -> None:
    copy.chmod(0o777)


def link_it(copy: Path) -> None:
    copy.rename(copy.with_name("elsewhere"))
    copy.symlink_to("elsewhere")


FAULTS = [change_a_file, add_a_file, name_another_main, let_others_write]


@pytest.mark.parametrize("fault", [*FAULTS, link_it])
def test_a_copy_that_does_not_match_its_sha_is_not_used(
    scenarios: Path, tmp_path: Path, fault: Callable[[Path], None]
) -> None:
    sha, data = pack(scenarios / "shop.py")
    SourceCache(tmp_path / "cache").put(sha, data)
    fault(tmp_path / "cache" / sha)
    assert SourceCache(tmp_path / "cache").find("/not/here/shop.py", sha) is None


@pytest.mark.parametrize("fault", FAULTS)
def test_a_spoiled_copy_is_replaced(
    scenarios: Path, tmp_path: Path, fault: Callable[[Path], None]
) -> None:
    sha, data = pack(scenarios / "shop.py")
    SourceCache(tmp_path / "cache").put(sha, data)
    fault(tmp_path / "cache" / sha)
    SourceCache(tmp_path / "cache").put(sha, data)
    assert SourceCache(tmp_path / "cache").find("/not/here/shop.py", sha) is not None


def test_modules_compiled_beside_a_copy_are_not_used(scenarios: Path, tmp_path: Path) -> None:
    sha, data = pack(scenarios / "shop.py")
    SourceCache(tmp_path / "cache").put(sha, data)
    compiled = tmp_path / "cache" / sha / "rates/__pycache__"
    compiled.mkdir()
    (compiled / "__init__.cpython-311.pyc").write_bytes(b"other code")
    assert SourceCache(tmp_path / "cache").find("/not/here/shop.py", sha) is not None
    assert not compiled.exists()


@pytest.mark.parametrize("name", ["/etc/passwd", "../out.py", "a/../../out.py", ""])
def test_no_path_leaves_the_cache(tmp_path: Path, name: str) -> None:
    data = codec.encode(Sources("x.py", {"x.py": b"", name: b"bad"}))
    with pytest.raises(MessageError, match="sources contain the unsafe path"):
        SourceCache(tmp_path / "cache").put(sources.hashlib.sha256(data).hexdigest(), data)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == []


def test_bytes_of_another_hash_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MessageError, match="do not match SHA-256"):
        SourceCache(tmp_path).put("0" * 64, b"data")


def test_sources_that_are_too_large_are_refused_by_size(
    scenarios: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "TOTAL_MAX", 100)
    with pytest.raises(UsageError, match=r"are \d+ bytes or more; 100 at most"):
        pack(scenarios / "shop.py")


@pytest.mark.parametrize("name", ["shop.py", "rates/table.csv", "rates/huge.py"])
def test_a_file_larger_than_memory_is_refused_unread(scenarios: Path, name: str) -> None:
    with (scenarios / name).open("ab") as file:
        file.truncate(1 << 42)  # sparse: uses no disk space
    with pytest.raises(UsageError, match=r"are 4,398,[\d,]+ bytes or more; 16,777,216 at most"):
        pack(scenarios / ("rates/__init__.py" if "/" in name else name))


def test_a_module_with_a_syntax_error_is_packed(scenarios: Path) -> None:
    (scenarios / "shop.py").write_text("def start(:\n")
    assert files_of(pack(scenarios / "shop.py")[1]) == {"shop.py", "requirements.txt"}


def test_a_copy_that_cannot_be_moved_into_place_raises_and_leaves_no_files(
    scenarios: Path, tmp_path: Path
) -> None:
    sha, data = pack(scenarios / "shop.py")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / sha).write_text("no directory")
    with pytest.raises(OSError, match="Not a directory"):
        SourceCache(tmp_path / "cache").put(sha, data)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [sha]
