"""`fieldvisit …`: the operators' commands. Each prints what it did and exits 0, or one clear line and 1.

A command imports what it needs when it runs, so that the server's parent process and `--help` start at once.
"""

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated

import structlog
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from backend.core.settings import read_settings
from backend.keys.model import KeyPurpose, KeyRecord

CONSOLE = Console()
app = App(name="fieldvisit", help="Paired field visits: plans, evidence, cash. Settings are FIELDVISIT_* variables.", version_flags=["--version"])
db = app.command(App(name="db", help="The database."))
keys = app.command(App(name="keys", help="The server's own keys; see docs/keys.md."))
user = app.command(App(name="user", help="People and their logins."))
audit = app.command(App(name="audit", help="The audit chains and the transparency log."))


@app.command
def serve(*, host: str = "127.0.0.1", port: int = 8000, demo: bool = False) -> None:
    """Serve console, phones and API until stopped. With --demo: the data of the last `make demo`, and its logins printed."""
    from backend.cli import serve as server

    if demo:
        from backend.cli import demo as demonstration

        demonstration.prepare_serving(f"http://{host}:{port}")
    server.check(read_settings())
    CONSOLE.print(f"http://{host}:{port}", highlight=False)
    server.run(host, port, read_settings().threads)


@app.command
def worker(*, jobs: int = 1) -> None:
    """Take work from the queue until stopped: solving, examining, sweeping. For FIELDVISIT_JOBS=workers; --jobs at a time."""
    from backend.cli import worker as working

    working.run(read_settings(), jobs)


@db.command(name="upgrade")
def db_upgrade() -> None:
    """Bring the database to the revision of this code."""
    from backend.cli import database

    before, after = database.upgrade_database(read_settings())
    CONSOLE.print(f"{before or 'empty'} → {after}")


@keys.command(name="init")
def keys_init() -> None:
    """Make the key folder and every key that it lacks; can be repeated."""
    from backend.cli import database

    _show_keys(database.init_keys(read_settings()))


@keys.command(name="rotate")
def keys_rotate(purpose: KeyPurpose) -> None:
    """Make a new active key of PURPOSE; the former one keeps verifying."""
    from backend.cli import database

    CONSOLE.print(f"{purpose.value}: {database.rotate_key(read_settings(), purpose).kid}")


@keys.command(name="rewrap")
def keys_rewrap() -> None:
    """Bring all case keys under the newest master key, without touching what they seal; can be stopped and run again."""
    from backend.cli import database

    CONSOLE.print(f"{database.rewrap_case_keys(read_settings()):,} case keys moved")


@keys.command(name="list")
def keys_list() -> None:
    """List the keys with their states."""
    from backend.cli import database

    _show_keys(database.list_keys(read_settings()))


@user.command(name="create")
def user_create(*, role: str = "operator", username: str, name: str, password_file: Path | None = None) -> None:
    """Make the first operator on an empty database; everybody else is invited from the console.

    The password is asked for, or read from the first line of --password-file.
    """
    from backend.cli import people

    if role != "operator":
        raise SystemExit("the first user is an operator; invite everybody else with `fieldvisit user invite`")
    made = people.create_first_operator(read_settings(), name=name, username=username, password=_password(password_file))
    CONSOLE.print(f"username     {made.username}\nTOTP secret  {made.totp_secret}\n{made.provisioning_uri}", highlight=False)


@user.command(name="invite")
def user_invite(employee_no: str, *, acting: Annotated[str, Parameter(name="--as")]) -> None:
    """Make a one-time link with which the person of EMPLOYEE_NO chooses a password. --as names the operator's user name."""
    from backend.cli import people

    invited = people.invite(read_settings(), employee_no, acting)
    CONSOLE.print(f"{invited.token}\nvalid until {invited.expires_at:%Y-%m-%d %H:%M} UTC", highlight=False)
    if invited.is_confirmation_due:
        CONSOLE.print("A second person has to confirm it first: fieldvisit user confirm, or the console.", highlight=False)


@user.command(name="confirm")
def user_confirm(employee_no: str, *, acting: Annotated[str, Parameter(name="--as")]) -> None:
    """Confirm the invitation of the person of EMPLOYEE_NO as the second person. --as names a manager or somebody of the same bank."""
    from backend.cli import people

    people.confirm(read_settings(), employee_no, acting)
    CONSOLE.print(f"{employee_no} may accept the invitation", highlight=False)


@user.command(name="accept")
def user_accept(token: str, *, username: str, password_file: Path | None = None) -> None:
    """Accept an invitation: choose a user name and a password, and receive the TOTP secret."""
    from backend.cli import people

    made = people.accept(read_settings(), token, username=username, password=_password(password_file))
    CONSOLE.print(f"username     {made.username}\nTOTP secret  {made.totp_secret}", highlight=False)


@user.command(name="totp")
def user_totp(username: str) -> None:
    """Print a code that USERNAME can log in with now; in a demo only."""
    from backend.cli import people

    CONSOLE.print(people.totp(read_settings(), username), highlight=False)


@audit.command(name="verify")
def audit_verify() -> None:
    """Check the audit chains, the log, its checkpoints and the stored evidence against each other; exit 1 on any fault."""
    from backend.cli import work

    report, faults, told = work.verify(read_settings())
    table = Table("what", "number", box=None)
    for label, number in report:
        table.add_row(label, f"{number:,}")
    CONSOLE.print(table)
    for one in told:
        CONSOLE.print(f"TOLD {one}", style="yellow", highlight=False)
    for fault in faults:
        CONSOLE.print(f"FAULT {fault}", style="red", highlight=False)
    raise SystemExit(1 if faults else 0)


@audit.command(name="anchor")
def audit_anchor() -> None:
    """Log the heads of the audit chains; run it daily, and before an export."""
    from backend.cli import work

    CONSOLE.print("anchored" if work.anchor(read_settings()) else "nothing moved since the last anchor")


@audit.command(name="stamp")
def audit_stamp() -> None:
    """Have the log's newest checkpoint time-stamped now by the configured authority; the server does it daily by itself."""
    from backend.cli import work

    size = work.stamp(read_settings())
    CONSOLE.print(f"stamped at size {size}" if size is not None else "nothing was added since the last stamp")


@audit.command(name="adopt")
def audit_adopt() -> None:
    """Commit rows written before the log spoke for rows, as they stand; run it once, right after an upgrade from such a version."""
    from backend.cli import work

    CONSOLE.print(f"{work.adopt(read_settings()):,} rows adopted")


@app.command(name="import")
def import_placement(
    file: Path, *, bank: str, number: str, rows: int, amount_fen: int, as_of: str, branch: str, acting: Annotated[str, Parameter(name="--as")],
    accept_good: bool = False,
) -> None:
    """Import a bank's placement file under its newest profile; --rows and --amount-fen are the control totals that the bank declared."""
    from backend.cli import work

    asked = work.PlacementAsked(bank=bank, number=number, rows=rows, amount_fen=amount_fen, as_of=as_of, branch=branch, is_good_enough=accept_good)
    result = work.import_placement(read_settings(), file, asked, acting)
    CONSOLE.print(f"{result.outcome.value}: {result.accepted_count} of {result.row_count} rows, batch {result.id}", highlight=False)


@app.command
def plan(branch: str, on: str, *, acting: Annotated[str, Parameter(name="--as")], seconds: int = 10, seed: int = 1) -> None:
    """Plan the day ON (YYYY-MM-DD) of BRANCH and print routes and unserved visits."""
    from backend.cli import work

    CONSOLE.print(work.plan_day(read_settings(), branch, on, work.Search(seconds=seconds, seed=seed), acting), highlight=False)


@app.command
def export(
    visit: str = "", *, out: Path, purpose: str, acting: Annotated[str, Parameter(name="--as")], trust: Path | None = None, case: str = "",
    batch: str = "", days: str = "", bank: str = "", since: int | None = None, unmask: str = "",
) -> None:
    """Write the evidence pack of VISIT, or of --case, --batch, or --days FROM..TO (of --bank), to --out.

    With --trust also the public keys that a verifier needs from elsewhere; --since is the log size that the reader knows;
    --unmask names why identity documents shall be legible.
    """
    from backend.cli import work

    asked = work.PackAsked(
        out=out, purpose=purpose, trust=trust, visit=visit, case=case, batch=batch, days=days, bank=bank, since=since, unmask=unmask)
    made = work.export(read_settings(), asked, acting)
    CONSOLE.print(f"{out}: {made.size:,} bytes, sha256 {made.sha256}, log size {made.log_size}", highlight=False)


@app.command(name="retry-job")
def retry_job(task: str, subject: str) -> None:
    """Let a job be tried again that was given up; `doctor` shows them as TASK SUBJECT."""
    from backend.cli import worker as working

    CONSOLE.print("the next sweep takes it up" if working.retry(read_settings(), task, subject) else "no such job was given up")


@app.command(name="doctor")
def run_doctor() -> None:
    """Check the set-up and say what is wrong; exit 1 when something is."""
    from backend.cli import doctor

    findings = doctor.examine(read_settings())
    for finding in findings:
        CONSOLE.print(f"{'ok  ' if finding.is_good else 'BAD ' if finding.is_fatal else 'note'}  {finding.part}: {finding.text}", highlight=False)
    raise SystemExit(1 if any(not finding.is_good and finding.is_fatal for finding in findings) else 0)


@app.command
def demo(*, database: str = "sqlite", out: Path = Path("var/demo"), quick: bool = False) -> None:
    """Play one whole working day through HTTP and prove it offline; results in --out, which is replaced."""
    from backend.cli import demo as demonstration

    raise SystemExit(demonstration.run(database, out, is_quick=quick))


def main() -> None:
    """Run one command; what is refused is one line on standard error and exit 1."""
    from backend.cli.refusals import told

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))
    with told():
        app()


def _password(file: Path | None) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").splitlines()[0]
    if not sys.stdin.isatty():
        raise SystemExit("no terminal to ask for the password on; use --password-file")
    return getpass.getpass("password: ")


def _show_keys(records: tuple[KeyRecord, ...]) -> None:
    table = Table("purpose", "kid", "state", "made", box=None)
    for record in records:
        table.add_row(record.purpose.value, record.kid, record.state.value, f"{record.created_at:%Y-%m-%d %H:%M}")
    CONSOLE.print(table)


if __name__ == "__main__":
    sys.argv[0] = os.path.basename(sys.argv[0])
    main()
