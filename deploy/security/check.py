"""`make security`: what tools find in the code, the packages, the history and the running site, judged by one list.

    .venv/bin/python deploy/security/check.py [--quick] [--only NAME …] [--seconds 60] [--list]

It ends with 1 where something above informational is found that accepted.toml does not accept with a reason, and where
a check could not be done, but for the list of vulnerabilities, which may be out of reach: then it says so.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from deploy.security import scanning, source
from deploy.security.findings import Outcome, Verdict, accepted_findings, table, verdict

SHOWN = 25

QUICK: dict[str, Callable[[], Outcome]] = {
    "bandit": source.bandit,
    "secrets in the tree": source.secrets_in_tree,
}
SOURCE: dict[str, Callable[[], Outcome]] = {
    **QUICK,
    "secrets in history": source.secrets_in_history,
    "pip-audit packages": partial(source.audit, "requirements.txt"),
    "pip-audit dev": partial(source.audit, "requirements-dev.txt"),
    "check --deploy": source.deployment,
}
RUNNING: dict[str, tuple[Callable[[scanning.Site, str, int], Outcome], str]] = {
    **{f"schemathesis, {who}": (scanning.schemathesis, who) for who in ("visitor", "member", "pipeline")},
    **{f"wapiti, {who}": (scanning.wapiti, who) for who in ("visitor", "member")},
}


def outcomes(names: set[str], *, seconds: int) -> Iterator[Outcome]:
    """Do the named checks, one after the other."""
    for name in SOURCE:
        if name in names:
            yield SOURCE[name]()
    running = [name for name in RUNNING if name in names]
    if not running:
        return
    with tempfile.TemporaryDirectory(prefix="bambisleep-security-") as directory:
        try:
            with scanning.scanned_site(Path(directory)) as found:
                for name in running:
                    scan, who = RUNNING[name]
                    yield scan(found, who, seconds)
        except RuntimeError as error:
            yield Outcome("the running site", not_run=str(error))


def main() -> int:
    """0 where nothing is open."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the code and the tree alone, in seconds")
    parser.add_argument("--only", action="append", metavar="NAME", help="this check; may be given several times")
    parser.add_argument("--seconds", type=int, default=60, help="how long each scanner looks at the site (60)")
    parser.add_argument("--list", action="store_true", help="list the checks")
    options = parser.parse_args()
    known = [*SOURCE, *RUNNING]
    if options.list:
        print("\n".join(known))
        return 0
    names = set(options.only or (QUICK if options.quick else known))
    if names - set(known):
        parser.error(f"There is no check {', '.join(sorted(names - set(known)))}: see --list.")
    try:
        accepted = accepted_findings()
    except ValueError as error:
        parser.error(str(error))
    verdicts: list[Verdict] = []
    began = time.monotonic()
    for outcome in outcomes(names, seconds=max(10, options.seconds)):
        verdicts.append(verdict(outcome, accepted))
        print(f"{verdicts[-1].check}: {verdicts[-1].word} ({time.monotonic() - began:.0f} s)", flush=True)
        for finding in verdicts[-1].open[:SHOWN]:
            print(f"  {finding}")
        if len(verdicts[-1].open) > SHOWN:
            print(f"  … and {len(verdicts[-1].open) - SHOWN} more")
    print(f"\n{table(verdicts)}")
    return 0 if verdicts and all(each.passes for each in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
