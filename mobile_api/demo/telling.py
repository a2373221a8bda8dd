"""What the day is told with: summary rows, and the record that the page shows."""

from mobile_api.demo.record import Said, SummaryRow
from mobile_api.demo.stage import Scene

_ROWS: tuple[tuple[str, str, str], ...] = (
    ("cases", "案件", "cases"), ("rejected rows", "被拒行", "rejected rows"), ("requests", "外访申请", "visit requests"), ("approved", "批准", "approved"),
    ("visits planned", "计划外访", "visits planned"), ("visits served", "完成外访(已驱动的配对)", "visits served (driven pairs)"),
    ("visits dropped", "未安排", "visits dropped"), ("stops withdrawn", "撤回站点", "stops withdrawn"), ("pairs driven", "驱动的配对", "pairs driven"),
    ("files", "证据文件", "evidence items"), ("bytes", "字节", "bytes uploaded"), ("cuts survived", "断线次数", "cuts survived"),
    ("signatures", "签名", "signatures"), ("receipts", "收条", "receipts"), ("deposits", "存款", "deposits"), ("declarations", "声明书", "declarations"),
    ("cash breaches", "违规收款", "cash breaches"), ("refusals", "拒绝的请求", "refusals met"),
)


def summary_rows(scene: Scene, took_s: float) -> tuple[SummaryRow, ...]:
    """Return the summary table's rows."""
    rows = [
        SummaryRow(label=Said(zh=zh, en=en), value=f"{scene.counts.get(name, 0):,}", is_headline=name in ("visits planned", "visits served", "signatures", "files"))
        for name, zh, en in _ROWS
    ]
    for code, number in sorted(scene.notes["reasons"].items()):
        rows.append(SummaryRow(label=Said(zh=f"未安排原因 {code}", en=f"reason {code}"), value=str(number)))
    rows.append(SummaryRow(label=Said(zh="用时", en="time"), value=f"{took_s:.0f} s"))
    return tuple(rows)


def page_of(scene: Scene, took_s: float) -> str:
    """Return the day's page."""
    raise NotImplementedError
