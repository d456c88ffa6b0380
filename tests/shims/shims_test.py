"""The Python shims hand everything to the binary and add nothing.

Run in a copy of the shims without a build, with a stand-in binary that says what it was given.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
STAND_IN = '#!/bin/sh\necho "$0"\nfor argument in "$@"; do echo "<$argument>"; done\nexit 75\n'


class Shims(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.checkout = Path(folder.name).resolve() / "check out"  # a space: paths are never split
        shutil.copytree(PROJECT / "tools", self.checkout / "tools", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(PROJECT / "train.py", self.checkout)

    def place_binary(self, folder):
        binary = self.checkout / folder / "lora-dist"
        binary.parent.mkdir(parents=True)
        binary.write_text(STAND_IN)
        binary.chmod(0o755)
        return binary

    def run_shim(self, script, *arguments, path="/nonexistent"):
        return subprocess.run([sys.executable, "-B", str(self.checkout / script), *arguments],
                              capture_output=True, text=True, env={**os.environ, "PATH": str(path)})

    def test_train_hands_arguments_and_exit_code_through(self):
        binary = self.place_binary("build/release")
        done = self.run_shim("train.py", "--config", "my config.yaml", "epochs=3", "")
        self.assertEqual(done.stdout.splitlines(), [str(binary), "<train>", "<--config>", "<my config.yaml>", "<epochs=3>", "<>"])
        self.assertEqual(done.returncode, 75)

    def test_auto_label_calls_the_label_command(self):
        self.place_binary("build/release")
        done = self.run_shim("tools/auto_label.py", "--input", "pictures", "--output", "metadata.csv")
        self.assertEqual(done.stdout.splitlines()[1:], ["<label>", "<--input>", "<pictures>", "<--output>", "<metadata.csv>"])

    def test_a_binary_on_path_serves_where_nothing_is_built(self):
        installed = self.place_binary("installed")
        self.assertEqual(self.run_shim("train.py", path=installed.parent).stdout.splitlines(), [str(installed), "<train>"])

    def test_the_build_of_the_checkout_wins_over_path(self):
        installed, built = self.place_binary("installed"), self.place_binary("build/release")
        self.assertEqual(self.run_shim("train.py", path=installed.parent).stdout.splitlines()[0], str(built))

    def test_without_a_binary_one_line_says_what_to_type(self):
        done = self.run_shim("train.py", "--config", "x.yaml")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stdout, "")
        self.assertEqual(done.stderr.count("\n"), 1)
        self.assertIn(f"make -C {self.checkout} build", done.stderr)


if __name__ == "__main__":
    unittest.main()
