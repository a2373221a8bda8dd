"""The day from its founding to its proof: acts in order, each with a progress bar, then the summary, the page and the files."""

import json
import time
from collections.abc import Callable
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from mobile_api.demo import closing, desk_work, doors, founding, planning, telling
from mobile_api.demo.stage import Login, Scene, Stage, Ticker

__all__ = ["ACTS", "Login", "Stage", "play"]

ACTS: tuple[tuple[str, Callable[[Scene, Ticker], None]], ...] = (
    ("机构与银行 · agency and banks", founding.found_agency),
    ("催收员与设备 · collectors and equipment", founding.hire_collectors),
    ("委案导入 · placement files", desk_work.import_placements),
    ("电催与外访申请 · calls and requests", desk_work.call_and_request),
    ("分析与审批 · analysis and approval", desk_work.decide),
    ("配对与路线 · pairs and routes", planning.plan_day),
    ("早晨 · morning", planning.morning),
    ("电话否认 · a denial by phone", closing.deny_by_phone),
    ("上门 · at the doors", doors.drive),
    ("收尾与对账 · books and reviews", closing.close_day),
    ("证据包与验证 · pack and verifier", closing.export_and_verify),
    ("审计 · audit", closing.audit),
)


def play(stage: Stage) -> int:
    """Play the day; returns 0 when every step held. A step that does not hold raises."""
    console = Console()
    scene = Scene(stage)
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        for name, act in ACTS:
            task = progress.add_task(name, total=None)
            act(scene, Ticker(partial(progress.advance, task), partial(_set_total, progress, task)))
            progress.update(task, completed=progress.tasks[task].total)
    took_s = time.monotonic() - started
    rows = telling.summary_rows(scene, took_s)
    table = Table("", "", title=f"fieldvisit · {stage.engine}", show_header=False)
    for row in rows:
        table.add_row(f"{row.label.zh} · {row.label.en}", row.value)
    console.print(table)
    _write_files(scene, took_s)
    console.print(f"{stage.out / 'day.html'}", highlight=False, soft_wrap=True)
    return 0


def _set_total(progress: Progress, task: TaskID, total: int) -> None:
    progress.update(task, total=total)


def _write_files(scene: Scene, took_s: float) -> None:
    out = scene.stage.out
    (out / "day.html").write_text(telling.page_of(scene, took_s), encoding="utf-8")
    (out / "plan.json").write_text(json.dumps(scene.plan, ensure_ascii=False, indent=1), encoding="utf-8")
    logins = [{"role": one.role, "username": one.username, "password": one.password, "totp_secret": one.totp_secret} for one in scene.logins]
    kept = out / "demo.json"
    kept.touch(mode=0o600)
    kept.write_text(json.dumps({"engine": scene.stage.engine, "logins": logins}, ensure_ascii=False, indent=1), encoding="utf-8")
