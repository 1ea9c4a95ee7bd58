"""Jobs end as themselves: well, badly, or killed; and none takes another with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from effdet.search.executor import run_jobs
from effdet.search.jobs import Job, JobResult, finished
from heads.structures import UserError
from tests.search.fake_runs import run


def jobs_of(directory: Path, **overrides: tuple[str, ...]) -> list[Job]:
    return [Job(key, chosen, directory / key) for key, chosen in overrides.items()]


def run_all(jobs: list[Job], **options) -> dict[str, JobResult]:
    results: dict[str, JobResult] = {}
    run_jobs(jobs, run, on_done=lambda result: results.setdefault(result.key, result), **{"workers": 2, **options})
    return results


def test_each_job_ends_in_its_own_way(tmp_path):
    jobs = jobs_of(
        tmp_path,
        good=("do=pass", "value=0.75"),
        bad=("do=raise",),
        nan=("do=nan",),
        dead=("do=die",),
        left=("do=leave",),
        last=("do=pass",),
    )
    started = []
    results = run_all(jobs, on_start=started.append)
    assert set(results) == set(started) == {"good", "bad", "nan", "dead", "left", "last"}
    assert results["good"].ok and results["good"].metrics == {"top1": 0.75}  # only finite numbers
    assert results["last"].ok
    assert (results["bad"].ok, results["bad"].error) == (False, "RuntimeError: a bad candidate")
    assert results["nan"].nonfinite and not results["bad"].nonfinite
    assert "SIGKILL" in results["dead"].error
    assert "exit code 3" in results["left"].error
    assert "RuntimeError" in (tmp_path / "bad" / "log.txt").read_text()


def test_what_has_ended_is_not_run_again_and_what_was_killed_is(tmp_path):
    record = tmp_path / "record"
    jobs = jobs_of(
        tmp_path,
        good=("do=pass", f"record={record}"),
        bad=("do=raise", f"record={record}"),
        dead=("do=die", f"record={record}"),
    )
    first = run_all(jobs, workers=1)
    again = run_all(jobs, workers=1)
    assert record.read_text().split() == ["pass", "raise", "die", "die"]
    assert again["good"] == first["good"] and again["bad"] == first["bad"]
    (tmp_path / "good" / "result.json").write_text('{"ok": tr')  # half a file is no result
    assert finished(jobs[0]) is None


def test_a_job_that_takes_too_long_is_ended(tmp_path):
    jobs = jobs_of(tmp_path, slow=("do=sleep", f"started={tmp_path / 'pid'}", f"saved={tmp_path / 'saved'}"))
    assert "longer than 4 seconds" in run_all(jobs, timeout=4.0)["slow"].error
    if (tmp_path / "pid").exists():  # on a busy machine it may not even have begun
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_jobs_save_and_ends_them(tmp_path, number):
    pid, saved = tmp_path / "pid", tmp_path / "saved"

    def stop() -> None:
        wait_for(pid)
        os.kill(os.getpid(), number)

    # A shell starts background jobs deaf to Ctrl-C, and the tests may be one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=stop, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_all(jobs_of(tmp_path, slow=("do=sleep", f"started={pid}", f"saved={saved}")))
    finally:
        signal.signal(signal.SIGINT, before)
    assert saved.read_text() == "saved"
    assert not (tmp_path / "slow" / "result.json").exists()


def test_a_killed_search_leaves_no_jobs_behind(tmp_path):
    pid = tmp_path / "pid"
    script = (
        "from pathlib import Path; from effdet.search.executor import run_jobs; from effdet.search.jobs import Job\n"
        "from tests.search.fake_runs import run\n"
        "if __name__ == '__main__':\n"
        f"    job = Job('a', ('do=sleep', 'started={pid}', 'saved={tmp_path / 'saved'}'), Path({str(tmp_path / 'a')!r}))\n"
        "    run_jobs([job], run, workers=1, on_done=print)\n"
    )
    file = tmp_path / "search.py"
    file.write_text(script)
    root = Path(__file__).resolve().parents[2]
    search = subprocess.Popen([sys.executable, str(file)], env={**os.environ, "PYTHONPATH": str(root)})
    wait_for(pid)
    search.kill()
    search.wait()
    for _ in range(100):
        try:
            os.kill(int(pid.read_text()), 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the job outlived the search")


def wait_for(path: Path) -> None:
    for _ in range(4000):  # imports take long on a busy machine
        if path.exists() and path.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} did not come")


def test_errors_come_before_work(tmp_path):
    with pytest.raises(UserError, match="engine=slurm: must be one of local, ray"):
        run_all(jobs_of(tmp_path, a=("do=pass",)), engine="slurm")
    with pytest.raises(UserError, match="workers=0"):
        run_all(jobs_of(tmp_path, a=("do=pass",)), workers=0)


def test_ray_is_asked_for_in_one_line_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"engine=ray: Ray is not installed; pip install 'effdet-lightning\[ray\]'"):
        run_all(jobs_of(tmp_path, a=("do=pass",)), engine="ray")


def test_ray_runs_the_same_jobs(tmp_path):
    pytest.importorskip("ray")
    results = run_all(jobs_of(tmp_path, good=("do=pass",), bad=("do=raise",), dead=("do=die",)), engine="ray")
    assert results["good"].metrics == {"top1": 0.5}
    assert results["bad"].error == "RuntimeError: a bad candidate"
    assert not results["dead"].ok
