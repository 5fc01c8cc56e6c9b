"""What `cmake --install` and CPack make: the tree, the library that others link, and Debian's packages.

Two projects of others (tests/consumers) are built against the installed tree and run. Nothing is installed into this
machine: trees are made in a temporary folder, packages are only looked into.
"""
import gzip
import json
import os
import pathlib
import re
import subprocess
import unittest

import harness

BUILD = pathlib.Path(harness.PROGRAM).resolve().parent
CACHE = (BUILD / "CMakeCache.txt").read_text() if (BUILD / "CMakeCache.txt").exists() else ""
RELEASE = re.search(r"^CMAKE_BUILD_TYPE:\w+=Rel", CACHE, re.M)
CONSUMERS = harness.SOURCE / "tests" / "consumers"
UNITS = sorted(path for path in (harness.SOURCE / "ops" / "systemd").iterdir() if path.suffix in (".service", ".target"))
STRICT = ("-Wall", "-Wextra", "-pedantic", "-Werror")


def run(*arguments, check=True, **environment):
    done = subprocess.run([*map(str, arguments)], capture_output=True, text=True, errors="replace",
                          env={**os.environ, "LC_ALL": "C", **environment})
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def version():
    return re.search(r"^project\(metricmq VERSION (\S+)", (harness.SOURCE / "CMakeLists.txt").read_text(), re.M).group(1)


@unittest.skipUnless(RELEASE, "not a release's build")
class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = harness.temporary_folder(cls)
        cls.prefix = cls.folder / "usr"
        run("cmake", "--install", BUILD, "--prefix", cls.prefix, "--strip")
        cls.library = next(cls.prefix.glob("lib/**/libmetricmq.so"))
        cls.pkg_config = {"PKG_CONFIG_PATH": str(cls.library.parent / "pkgconfig")}

    def test_the_program(self):
        self.assertEqual(run(self.prefix / "bin" / "metricmq", "--version"), f"metricmq {version()}\n")

    def test_units_start_what_was_installed(self):
        for unit in UNITS:
            text = (self.prefix / "lib/systemd/system" / unit.name).read_text()
            self.assertNotIn("/usr/bin/metricmq", text.replace(str(self.prefix), ""), unit.name)
            self.assertEqual(text, unit.read_text().replace("/usr/bin/metricmq", f"{self.prefix}/bin/metricmq"))
        for kind in ("sysusers", "tmpfiles"):
            ours = sorted(path.stem + ".conf" for path in (harness.SOURCE / "ops/systemd").glob(f"*.{kind}"))
            self.assertEqual(sorted(path.name for path in self.prefix.glob(f"lib/{kind}.d/*")), ours)

    def test_documents(self):
        """A link from one to another leads somewhere; the changelog has Debian's name."""
        folder = self.prefix / "share/doc/metricmq"
        self.assertEqual(gzip.decompress((folder / "changelog.gz").read_bytes()),
                         (harness.SOURCE / "CHANGELOG.md").read_bytes())
        licence = (harness.SOURCE / "LICENSE").read_text().split("\n\n", 2)[2]
        copyright = (folder / "copyright").read_text()
        self.assertEqual(re.sub(r"\s+|\n \.", " ", copyright.split("License: Expat\n")[-1]).replace(" . ", " ").split(),
                         licence.split())
        self.assertEqual({path.name for path in (harness.SOURCE / "docs").glob("*.md")},
                         {path.name for path in (folder / "docs").iterdir()})
        for document in [folder / "README.md", *folder.glob("docs/*.md")]:
            for link in re.findall(r"\]\((?!https?:)([^)#]+\.md)", document.read_text()):
                target = (document.parent / link).resolve()
                self.assertTrue(target.exists() or target.name == "CHANGELOG.md", f"{document.name}: {link}")

    def test_examples(self):
        """What operators copy is there as it is, under the names that docs/operations.md tells."""
        examples, source = self.prefix / "share/doc/metricmq/examples", harness.SOURCE / "ops"
        files = {path.relative_to(examples) for path in examples.rglob("*") if path.is_file()}
        told = (harness.SOURCE / "docs/operations.md").read_text()
        self.assertEqual(set(re.findall(r"^\| `([a-z]+/[\w.]+)` \|", told, re.M)) | {"prometheus/metricmq.test.yml"},
                         {str(path) for path in files})
        for path in files:
            self.assertEqual((examples / path).read_bytes(), (source / path).read_bytes())

    def test_headers_need_nothing_else(self):
        """Each alone, as C and as C++; what they include is theirs or libc's."""
        include = self.prefix / "include"
        flags = run("pkg-config", "--cflags", "metricmq", **self.pkg_config).split()
        headers = sorted((include / "metricmq").iterdir())
        self.assertEqual([path.name for path in headers],
                         sorted(path.name for path in (harness.SOURCE / "include/metricmq").iterdir()))
        for language, standard, compiler in (("c", "c11", "cc"), ("c++", "c++17", "c++")):
            for header in headers:
                run(compiler, "-x", language, f"-std={standard}", *STRICT, *flags, "-fsyntax-only", header)
        for header in headers:
            self.assertNotRegex(header.read_text(), r'#include ("(?!metricmq/)|<(?!(stdbool|stddef|stdint)\.h))')

    def test_exports_are_the_headers(self):
        include = self.prefix / "include"
        everything = self.folder / "everything.c"
        headers = sorted((include / "metricmq").iterdir())
        everything.write_text("".join(f"#include <metricmq/{path.name}>\n" for path in headers))
        run("cc", "-fsyntax-only", "-std=c11", "-I", include, "-aux-info", self.folder / "prototypes", everything)
        prototypes = [line for line in (self.folder / "prototypes").read_text().splitlines() if f"{include}/" in line]
        declared = {re.search(r"(\w+) \(", line).group(1) for line in prototypes}
        for header in headers:
            declared |= set(re.findall(r"^extern const \w+ (\w+)", header.read_text(), re.M))
        exported = {line.split()[-1] for line in
                    run("nm", "-D", "--defined-only", "--without-symbol-versions", self.library).splitlines()}
        exported = {name for name in exported if not name.startswith("METRICMQ_")}
        self.assertGreater(len(declared), 70)
        self.assertEqual(declared - exported, set(), "in a header, not in lib/libmetricmq.map")
        self.assertEqual(exported - declared, set(), "in lib/libmetricmq.map, in no header")

    def test_the_library(self):
        dynamic = run("readelf", "-W", "--dynamic", self.library)
        self.assertRegex(dynamic, r"SONAME.*\[libmetricmq\.so\.1\]")
        self.assertRegex(dynamic, r"BIND_NOW")
        self.assertNotRegex(dynamic, r"\((RPATH|RUNPATH|TEXTREL)\)")
        self.assertEqual(self.library.resolve().name, f"libmetricmq.so.1.{version()}")
        self.assertTrue((self.library.parent / "libmetricmq.so.1").is_symlink())
        needed = set(re.findall(r"NEEDED.*\[(\w+)", dynamic))
        self.assertLessEqual(needed, {"libzmq", "libczmq", "libcrypto", "libc", "ld"}, "what the room needs besides")

    def test_a_consumer_by_pkg_config(self):
        self.assertEqual(run("pkg-config", "--modversion", "metricmq", **self.pkg_config).strip(), version())
        flags = run("pkg-config", "--cflags", "--libs", "metricmq", **self.pkg_config).split()
        program = self.folder / "rows"
        run("cc", "-std=c11", *STRICT, CONSUMERS / "pkgconfig/rows.c", *flags, "-o", program)
        csv = self.folder / "rows.csv"
        csv.write_text("timestamp,value\n" + "".join(f"{n},{n}.5\n" for n in range(1, 20001)))
        with harness.up(self.folder / "data") as server:
            uid = harness.run("import", "--connect", server.ready["clients"], csv).out.split()[0]
            told = run(program, server.ready["clients"], uid, LD_LIBRARY_PATH=str(self.library.parent))
            self.assertEqual(told, f"version {version()} rows 20000 sum {sum(n + 0.5 for n in range(1, 20001)):.1f}\n")

    def test_a_consumer_by_cmake(self):
        build = self.folder / "consumer"
        configure = ["cmake", "-S", CONSUMERS / "cmake", "-B", build, "-G", "Ninja",
                     f"-DCMAKE_PREFIX_PATH={self.prefix}", f"-DCMAKE_CXX_FLAGS={' '.join(STRICT)}"]
        run(*configure)
        run("cmake", "--build", build)
        with harness.up(self.folder / "data2") as server:
            told = run(build / "echo", server.ready["clients"], server.ready["workers"], "all is well")
            self.assertEqual(told, "status 200 all is well\n")


@unittest.skipUnless(RELEASE, "not a release's build")
class Packages(unittest.TestCase):
    """Debian's packages of this build, as ops/package makes them."""

    @classmethod
    def setUpClass(cls):
        harness.require("cpack", "dpkg-deb", "dpkg-shlibdeps", "file", "lintian")
        cls.folder = harness.temporary_folder(cls)
        told = run(harness.SOURCE / "ops/package", "--built", BUILD, cls.folder)
        cls.paths = {path.name.split("_")[0]: path for path in cls.folder.glob("*.deb")}
        cls.lintian = told

    def field(self, package, name):
        return run("dpkg-deb", "--field", self.paths[package], name).strip()

    def listed(self, package):
        """{path: (mode, owner)} of what a package holds."""
        lines = run("dpkg-deb", "--contents", self.paths[package]).splitlines()
        return {line.split()[5][1:]: tuple(line.split()[:2]) for line in lines}

    def test_there_are_four(self):
        self.assertEqual(set(self.paths), {"metricmq", "libmetricmq1", "libmetricmq-dev", "python3-metricmq"})
        for package in self.paths:
            self.assertEqual(self.field(package, "Version"), f"{version()}-1")

    def test_dependencies(self):
        needs = self.field("metricmq", "Depends")
        for library in ("libzmq5", "libczmq4", "libsqlite3-0", "libarchive13", "libisal2", "libmicrohttpd12", "libcurl4",
                        "libpq5"):
            self.assertRegex(needs, rf"\b{library} \(>= ")
        self.assertNotIn("libmetricmq1", needs)
        self.assertEqual({name.split()[0] for name in self.field("libmetricmq1", "Depends").split(", ")},
                         {"libc6", "libzmq5", "libczmq4", "libssl3"})
        self.assertEqual(self.field("libmetricmq-dev", "Depends"), f"libmetricmq1 (= {version()}-1)")

    def test_what_is_in_them(self):
        program, library, development = (self.listed(name) for name in ("metricmq", "libmetricmq1", "libmetricmq-dev"))
        self.assertEqual(program["/usr/bin/metricmq"], ("-rwxr-xr-x", "root/root"))
        for unit in UNITS:
            self.assertIn(f"/usr/lib/systemd/system/{unit.name}", program)
        self.assertIn("/usr/lib/sysusers.d/metricmq.conf", program)
        self.assertIn("/usr/share/doc/metricmq/examples/prometheus/metricmq.rules.yml", program)
        ours = {path for path in library if path.startswith("/usr/lib/") and "libmetricmq" in path}
        self.assertEqual({path.rsplit("/", 1)[-1] for path in ours}, {"libmetricmq.so.1", f"libmetricmq.so.1.{version()}"})
        self.assertTrue(any(path.endswith("/pkgconfig/metricmq.pc") for path in development))
        self.assertIn("/usr/include/metricmq/client.h", development)
        shared = set(program) & set(library) | set(program) & set(development) | set(library) & set(development)
        self.assertEqual({path for path in shared if not path.endswith("/")}, set(), "in two packages")
        for path, (mode, owner) in {**program, **library, **development}.items():
            self.assertEqual(owner, "root/root", path)
            self.assertTrue(mode[0] == "l" or (mode[5], mode[8]) == ("-", "-"), f"{path}: {mode}")

    def test_the_python_module(self):
        """It stands where Debian's python3 looks for it, and wants what it imports."""
        self.assertEqual(self.field("python3-metricmq", "Architecture"), "all")
        self.assertEqual(self.field("python3-metricmq", "Depends"), "python3 (>= 3.11), python3-msgpack, python3-zmq")
        modules = [path for path in self.listed("python3-metricmq") if path.endswith(".py")]
        self.assertEqual(modules, ["/usr/lib/python3/dist-packages/metricmq.py"])

    def test_units_start_the_packaged_program(self):
        run("dpkg-deb", "--extract", self.paths["metricmq"], self.folder / "program")
        for unit in UNITS:
            self.assertEqual((self.folder / "program/usr/lib/systemd/system" / unit.name).read_text(), unit.read_text())

    def test_no_path_of_this_machine_is_in_them(self):
        for package, path in self.paths.items():
            tree = self.folder / f"tree-{package}"
            run("dpkg-deb", "--raw-extract", path, tree)
            for file in (file for file in tree.rglob("*") if file.is_file() and not file.is_symlink()):
                text = file.read_bytes()
                for folder in (harness.SOURCE, BUILD, self.folder):
                    self.assertNotIn(os.fsencode(folder) + b"/", text, file)

    def test_symbols(self):
        """dpkg-shlibdeps finds in them which version a program needs."""
        control = self.folder / "control"
        run("dpkg-deb", "--control", self.paths["libmetricmq1"], control)
        lines = (control / "symbols").read_text().splitlines()
        self.assertEqual(lines[0], "libmetricmq.so.1 libmetricmq1 #MINVER#")
        listed = {line.split("@")[0].strip() for line in lines[2:]}
        named = set(re.findall(r"^    (mmq_\w+);", (harness.SOURCE / "lib/libmetricmq.map").read_text(), re.M))
        self.assertEqual({name for name in listed if name.startswith("mmq_")}, named)
        self.assertEqual((control / "shlibs").read_text(), f"libmetricmq 1 libmetricmq1 (>= {version()})\n")

    def test_scripts_are_sound(self):
        run("dpkg-deb", "--control", self.paths["metricmq"], self.folder / "scripts")
        for script in ("postinst", "prerm", "postrm"):
            run("sh", "-n", self.folder / "scripts" / script)

    def test_lintian(self):
        """No error, and no warning but those that ops/debian/lintian-accepted gives a reason for."""
        self.assertNotRegex(self.lintian, r"(?m)^[EW]: ")
        self.assertIn("lintian: nothing to say", self.lintian)


class Container(harness.Case):
    """ops/Containerfile, as far as it can be held against the checkout and the program without building an image."""

    def setUp(self):
        super().setUp()
        text = re.sub(r"\\\n\s*", "", (harness.SOURCE / "ops/Containerfile").read_text())
        self.steps = [tuple(line.split(None, 1)) for line in text.splitlines() if line and not line.startswith("#")]
        self.last = self.steps[max(n for n, (kind, _) in enumerate(self.steps) if kind == "FROM"):]

    def of(self, kind, steps=None):
        return [text for name, text in steps or self.steps if name == kind]

    def test_what_it_is_built_from(self):
        self.assertEqual(self.of("ARG"), ["BASE=debian:12-slim"])
        self.assertEqual(self.of("FROM"), ["${BASE} AS build", "${BASE}"])
        self.assertEqual(self.of("COPY"), [". /src"])
        for script in re.findall(r"/src/(\S+)", " ".join(self.of("RUN"))):
            self.assertTrue(os.access(harness.SOURCE / script, os.X_OK), script)
        self.assertIn("/build", (harness.SOURCE / ".dockerignore").read_text().split())

    def test_it_runs_without_rights_and_holds_no_secret(self):
        user, = self.of("USER", self.last)
        self.assertRegex(user, r"^[1-9]\d+:[1-9]\d+$")
        owner = user.split(":")[0]
        made = " ".join(self.of("RUN", self.last))
        self.assertIn(f"--uid {owner}", made)
        self.assertIn(f"install -d -o {owner} -g {owner} -m 0700 {self.of('VOLUME', self.last)[0]}", made)
        self.assertNotRegex(" ".join(self.of("ENV") + self.of("ARG")), r"(?i)key|secret|token|password")

    def environment(self):
        settings = dict(pair.split("=", 1) for pair in self.of("ENV", self.last)[0].split())
        self.assertEqual(settings["METRICMQ_DATA"], self.of("VOLUME", self.last)[0])
        self.assertEqual(settings["METRICMQ_HTTP"].rsplit(":", 1)[1], self.of("EXPOSE", self.last)[0])
        return {**settings, "METRICMQ_DATA": str(self.folder / "data"), "METRICMQ_HTTP": "0.0.0.0:0",
                "METRICMQ_BIND": harness.LOCAL, "METRICMQ_BIND_WORKERS": harness.LOCAL}

    def test_its_command_wants_a_key(self):
        command = [*json.loads(self.of("ENTRYPOINT")[0]), *json.loads(self.of("CMD")[0])]
        self.assertEqual(command[0], "metricmq")
        done = harness.run(*command[1:], check=False, env=self.environment())
        self.assertEqual(done.returncode, 2, done.err)
        self.assertIn("api-key", done.err)

    def test_its_health_check(self):
        """It succeeds on an empty store, and fails where nobody serves."""
        command = json.loads(self.of("HEALTHCHECK", self.last)[0].split("CMD ", 1)[1])
        command[command.index("--timeout") + 1] = "1s" if not harness.SLOW else "4s"
        with harness.Program("up", env={**self.environment(), "METRICMQ_API_KEY": "0123456789abcdef"}) as program:
            address = {"METRICMQ_CONNECT": program.ready["clients"]}
            self.assertEqual(harness.run(*command[1:], env=address).returncode, 0)
        self.assertEqual(harness.run(*command[1:], check=False, env=address).returncode, 1)


if __name__ == "__main__":
    harness.main()
