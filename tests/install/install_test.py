"""An installation works wherever it is moved, and names nothing of the machine that built it.

Usage: install_test.py <build folder> <source folder> <folder of LibTorch>
"""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

BUILD, SOURCE, TORCH = (Path(argument).resolve() for argument in sys.argv[1:4])
PREFIX = "/opt/some where"  # a space: paths are never split


class Installation(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        package = Path(folder.name).resolve() / "package"
        subprocess.run(["cmake", "--install", BUILD, "--prefix", PREFIX], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "DESTDIR": str(package)})
        cls.moved = Path(folder.name).resolve() / "moved"
        shutil.move(package / PREFIX.lstrip("/"), cls.moved)

    def run_installed(self, *arguments, **environment):
        kept = {"PATH": "/nonexistent", "HOME": "/nonexistent"}
        return subprocess.run([self.moved / "bin/lora-dist", *arguments], capture_output=True, text=True, env={**kept, **environment})

    def torch_of_version(self, version):
        torch = self.moved.parent / f"torch-{version}"
        (torch / "lib").mkdir(parents=True)
        (torch / "lib/libtorch_cpu.so").symlink_to(TORCH / "lib/libtorch_cpu.so")
        shown = (TORCH / "version.py").read_text()
        wanted = shown.split("__version__ = '")[1].split("'")[0]
        (torch / "version.py").write_text(shown.replace(wanted, version))
        return torch, wanted.split("+")[0]

    def test_has_the_program_and_what_a_person_reads(self):
        for name in ("bin/lora-dist", "lib/lora-dist/lora-dist", "share/lora-dist/configs/quickstart.yaml",
                     "share/lora-dist/examples/base-tiny/model.safetensors", "share/lora-dist/docs/configuration.md",
                     "share/man/man1/lora-dist.1", "share/bash-completion/completions/lora-dist",
                     "share/zsh/site-functions/_lora-dist", "share/fish/vendor_completions.d/lora-dist.fish"):
            self.assertTrue((self.moved / name).is_file(), name)
            self.assertGreater((self.moved / name).stat().st_size, 0, name)

    def test_starts_where_it_was_moved(self):
        for name in (TORCH, TORCH / "lib", TORCH.parent):
            done = self.run_installed("--version", LORA_DIST_TORCH=str(name))
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertTrue(done.stdout.startswith("lora-dist "), done.stdout)

    def test_leaves_the_library_path_as_it_was(self):
        # The program that it starts for ranks sees the user's own again.
        tools = self.moved.parent / "tools"
        tools.mkdir()
        mpirun = tools / "mpirun"
        mpirun.write_text('#!/bin/sh\necho "path <$LD_LIBRARY_PATH> torch <$LORA_DIST_TORCH>"\nfor word; do echo "<$word>"; done\n')
        mpirun.chmod(0o755)
        done = self.run_installed("train", "--ranks", "2", "--config", str(self.moved / "share/lora-dist/configs/quickstart.yaml"),
                                  LORA_DIST_TORCH=str(TORCH), LD_LIBRARY_PATH="/mine", PATH=str(tools))
        self.assertIn(f"path </mine> torch <{TORCH}>", done.stdout)
        self.assertIn(f"<{self.moved}/bin/lora-dist>", done.stdout, "ranks find LibTorch as this one did")

    def test_names_a_torch_of_another_version(self):
        torch, wanted = self.torch_of_version("1.13.1")
        done = self.run_installed("--version", LORA_DIST_TORCH=str(torch))
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stderr.count("\n"), 1)
        self.assertIn(f"torch 1.13.1, expected {wanted}", done.stderr)

    def test_says_the_ways_where_there_is_no_torch(self):
        done = self.run_installed("--version")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stderr.count("\n"), 1)
        for way in ("pip install torch==", "LORA_DIST_TORCH", f"{self.moved}/lib/lora-dist/torch"):
            self.assertIn(way, done.stderr)

    def test_names_nothing_of_the_machine_that_built_it(self):
        programs = [path for folder in ("bin", "lib") for path in (self.moved / folder).rglob("*") if path.is_file()]
        self.assertGreaterEqual(len(programs), 2)
        for path in programs:
            for folder in (SOURCE, BUILD, TORCH):
                self.assertFalse(str(folder).encode() in path.read_bytes(), f"{folder} in {path}")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
