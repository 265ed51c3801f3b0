"""The page over the embedded models: real answers, the saved results, long texts, a stream."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

pytest.importorskip("pytest_playwright")
from playwright.sync_api import expect

from tasks.tabs import saved
from tests.app.serving import free_port

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_saved_results_are_what_the_models_say_now(real_engine):
    assert saved.differences(saved.read(), saved.compute(real_engine)) == []


def test_entail(visitor, real_url):
    panel = visitor.at(real_url, "nli")
    panel.get_by_label("Premise").fill("A man is playing a guitar on the stage.")
    panel.get_by_label("Hypothesis").fill("A man is playing an instrument.")
    panel.get_by_role("button", name="Run").click()
    output = panel.locator(".block.mz-output")
    expect(output).to_contain_text("the premise entails the hypothesis")
    expect(output).to_contain_text("forward")


def test_answer(visitor, real_url):
    panel = visitor.at(real_url, "qa")
    panel.get_by_label("Question").fill("Who wrote the letter?")
    panel.get_by_label("Passage").fill("The letter was written by Ada Lovelace in 1843, and it was found much later.")
    panel.get_by_role("button", name="Run").click()
    expect(panel.locator("mark").first).to_have_text("Ada Lovelace")


def test_classify(visitor, real_url):
    panel = visitor.at(real_url, "classify")
    panel.get_by_role("button", name="Film review").click()
    expect(panel.locator(".block.mz-output")).to_contain_text("positive.")
    panel.get_by_label("Text").fill("word " * 20_000)
    panel.get_by_role("button", name="Run").click()
    expect(panel.locator(".mz-note")).to_contain_text("Only the first 510 of 20,000 tokens of the text were read.")


def test_a_long_passage_is_read_in_windows(visitor, real_url):
    panel = visitor.at(real_url, "qa")
    panel.get_by_label("Question").fill("What is the password?")
    panel.get_by_label("Passage").fill("The sky is blue and the grass is green. " * 200)
    panel.get_by_role("button", name="Run").click()
    expect(panel.locator(".block.mz-output")).to_contain_text("windows")


def test_summarize(visitor, real_url):
    panel = visitor.at(real_url, "summarize")
    visitor.unfold(panel)
    panel.get_by_label("number input for Most new tokens").fill("200")
    panel.get_by_role("button", name="Run").click()
    output = panel.locator(".block.mz-output")
    expect(output).to_contain_text("a second")
    expect(output.locator(".mz-text")).not_to_be_empty()


@pytest.mark.slow
def test_the_command_line_serves_the_page():
    port = free_port()
    command = [sys.executable, "app.py", "--port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        for _ in range(120):
            assert server.poll() is None, server.stderr.read().decode()
            try:
                with urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                    shown = answer.read().decode()
                break
            except OSError:
                time.sleep(0.5)
        assert "Model Zoo" in shown
    finally:
        server.terminate()
        server.communicate(timeout=20)


def test_the_command_line_shows_its_help_at_once():
    done = subprocess.run([sys.executable, "app.py", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "--port" in done.stdout
