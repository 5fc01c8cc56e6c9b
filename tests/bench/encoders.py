"""Row encoders against their references, as bench_encoders measures them: JSON against "%.17g"."""
import json
import os

import bench

GOALS = {"json": "ratio >= 4.5"}  # of figures whose names begin so


def main(options, report):
    program = bench.tool("bench_encoders")
    if not os.path.exists(program):
        report.show("  left out: bench_encoders was not built")
        return
    done = bench.run([program, "--json", "--repeats", options.repeats, "--rows", options.sizes.encoder_rows])
    for figure in json.loads(done["out"]):
        goal = next((goal for name, goal in GOALS.items() if figure["name"].startswith(name)), None)
        ratio = figure["value"] / figure["reference"] if figure.get("reference") else None
        report.take({"goal": goal if ratio else None, "ratio": ratio, **figure})
