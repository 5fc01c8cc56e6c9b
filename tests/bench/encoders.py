"""Row encoders against their references, as bench_encoders measures them; JSON against "%.17g"."""
import json
import os

import bench

GOALS = {"json": "ratio >= 4.5"}  # of the second part of a name: encoders.json.decimals.printf


def main(options, report):
    program = bench.tool("bench_encoders")
    if not os.path.exists(program):
        report.show("  left out: bench_encoders was not built")
        return
    done = bench.run([program, "--json", "--repeats", options.repeats, "--rows", options.sizes.encoder_rows])
    for figure in json.loads(done["out"]):
        report.take("encoders", figure, GOALS.get(figure["name"].split(".")[1]))
