"""The site in a real browser, opened from disk, without a network (axe-core looks at its access).

Needs pip install -r tools/site/requirements.txt and Chromium; without one of them these tests are
skipped, but not where CI is set: there they fail.
"""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from conftest import FILES, ROOT, loaded
from test_tools_site import site

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
LANGUAGES = ("en", "zh-CN")
MODELS = {n: v for n, (file, v) in site.WEIGHTS.items() if (ROOT / file).exists()}

if not os.environ.get("CI"):
    pytest.importorskip("playwright", reason="needs pip install -r tools/site/requirements.txt")
    if CHROMIUM is None:
        pytest.skip("needs Chromium", allow_module_level=True)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_context(offline=True, reduced_motion="reduce")
        browser.close()


@pytest.fixture
def page(browser):
    """A page without a network; what it asks for elsewhere or complains of fails the test."""
    page, wrong = browser.new_page(), []
    page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda r: r.url.startswith("file:") or wrong.append(r.url))
    page.wrong = wrong
    yield page
    page.close()
    assert not wrong


def open_page(page, file, language="en"):
    page.goto((page.folder / language / file).as_uri())


@pytest.fixture(autouse=True)
def where(page, folder):
    page.folder = folder


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_opens_from_disk_and_asks_for_nothing_elsewhere(page, folder, language):
    files = sorted((folder / language).glob("*.html"))
    assert len(files) == len(FILES) + 3
    for file in files:
        page.goto(file.as_uri())
        assert page.title() and page.locator("h1").count() == 1
        assert page.evaluate("document.documentElement.lang") == language
        broken = "[...document.images].filter((i) => !i.naturalWidth).map((i) => i.src)"
        assert page.evaluate(broken) == []
    page.goto((folder / "index.html").as_uri())
    page.click(f"a[href='{language}/index.html']")
    assert page.url.endswith(f"{language}/index.html")


@pytest.mark.parametrize("language, scheme", [("en", "light"), ("zh-CN", "dark")])
@pytest.mark.parametrize("file", ["index.html", "v04.html", "play.html", "glossary.html"])
def test_axe_finds_nothing(page, language, file, scheme):
    page.emulate_media(color_scheme=scheme)
    open_page(page, file, language)
    if file == "play.html":
        write(page, ["v04"], length=3, maps=True)
    if language == "en":  # in the other as it opens: long tables take their time
        page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run({ preload: false })")["violations"]
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found] == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("file", ["index.html", "v03.html", "v12.html", "play.html"])
def test_a_page_is_not_wider_than_a_phone(page, file, language):
    page.set_viewport_size({"width": 360, "height": 740})
    open_page(page, file, language)
    if file == "play.html":
        write(page, ["v04"], length=5, maps=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    lines = "[...document.querySelectorAll('tr.line')]"
    assert page.evaluate(f"{lines}.filter((r) => r.scrollHeight > r.clientHeight + 1).length") == 0


def test_arrow_keys_turn_the_pages_but_not_while_one_chooses(page):
    open_page(page, "v07.html")
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/v08.html")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**/v07.html")
    open_page(page, "index.html")
    page.focus("form.curves input[value=val]")
    page.keyboard.press("ArrowRight")
    assert page.is_checked("form.curves input[value=train]") and page.url.endswith("index.html")


def test_the_language_switch_leads_to_the_same_page(page):
    open_page(page, "v07.html")
    page.click("a.language")
    assert page.url.endswith("zh-CN/v07.html")
    page.click("a.language")
    assert page.url.endswith("en/v07.html")


def test_what_did_not_change_unfolds_by_keyboard(page):
    open_page(page, "v07.html")
    button = page.locator(".folded button", has_text="Head")
    body = page.locator("tbody[hidden] td.new", has_text="class Head").first
    assert not body.is_visible()
    button.first.focus()
    page.keyboard.press("Enter")
    assert page.locator("td.new", has_text="class Head").first.is_visible()
    assert button.first.get_attribute("aria-expanded") == "true"
    page.keyboard.press("ArrowRight")  # the pages still turn
    page.wait_for_url("**/v08.html")


def test_curves_are_chosen_and_read_by_keyboard(page):
    open_page(page, "index.html")
    picture = page.locator("form.curves svg")
    before = picture.locator("path").count()
    page.uncheck("form.curves input[value=v6]")
    assert picture.locator("path").count() == before - 3  # seeds
    picture.locator("circle").first.focus()
    assert "v1, seed 1337" in page.locator("form.curves output").inner_text()
    page.keyboard.press("ArrowRight")
    assert "after 800 steps" in page.locator("form.curves output").inner_text()
    text = picture.text_content()
    page.check("form.curves input[value=train]")
    page.check("form.curves input[value=seconds]")
    assert picture.text_content() != text


# --- the models


def write(page, names, length=40, maps=False, wait=True):
    """Let versions write; return what stands on the page of each."""
    for box in page.locator(".play input[name=version]").all():
        box.set_checked(box.get_attribute("value") in names)
    page.fill("input[name=characters]", str(length))
    page.locator("input[name=maps]").set_checked(maps)
    page.click(".play button:not([type])")
    if wait:
        for name in names:
            page.wait_for_selector(f"#writes-{name} .text[data-done]", timeout=60_000)
    return {name: page.locator(f"#writes-{name} .poem").inner_text() for name in names if wait}


def model_of(name):
    """Return script, model and characters of a file of weights, as PyTorch reads them."""
    file, version = site.WEIGHTS[name]
    saved = torch.load(ROOT / file, weights_only=True)
    gpt = loaded(version)
    sizes = {k: v for k, v in saved["shape"].items() if k in gpt.Config.__dataclass_fields__}
    model = gpt.BabyGPT(gpt.Config(device="cpu", **sizes), len(saved["chars"]))
    model.load_state_dict({k: v.float() for k, v in saved["model"].items()})
    return model.eval(), saved["chars"], saved["shape"]["block_size"]


@pytest.mark.parametrize("name", MODELS)
def test_the_page_writes_what_pytorch_would_with_the_same_random_numbers(page, name):
    """Past the window too; and the logits for one text are within 1e-3."""
    open_page(page, "play.html")
    page.fill("input[name=temperature]", "0.8")
    length = 20 if name == "evening" else 30
    text = write(page, [name], length)[name]
    randoms = page.evaluate(f"((r) => Array.from({{length: {length}}}, r))(randomNumbers(1337))")
    model, chars, size = model_of(name)
    ids = [chars.index(char) for char in "春江"]
    with torch.no_grad():
        for number in randoms:
            logits = model(torch.tensor([ids[-size:]]))[0][0, -1]
            sums = torch.softmax(logits.double() / 0.8, dim=-1).cumsum(dim=-1)
            ids.append(int((sums > number).nonzero()[0]))
        assert text == "".join(chars[i] for i in ids)
        ids = ids[-size:]
        wanted = model(torch.tensor([ids]))[0][0, -1]
    script = f"Array.from(babygpt.models.get('{name}').read({json.dumps(ids)}))"
    torch.testing.assert_close(torch.tensor(page.evaluate(script)), wanted, atol=1e-3, rtol=1e-4)


def test_five_likeliest_and_the_attention_of_every_head_are_shown(page):
    open_page(page, "play.html")
    write(page, ["v04"], length=5, maps=True)
    shares = page.locator("#writes-v04 .likeliest li").all_inner_texts()
    numbers = [float(share.split()[-2]) for share in shares]
    assert len(numbers) == 5 and numbers == sorted(numbers, reverse=True)
    rows = page.locator("#writes-v04 details tr").all_text_contents()
    page.locator("#writes-v04 .poem span").nth(1).click()  # the first one that was written
    clicked = page.locator("#writes-v04 .likeliest li").all_inner_texts()
    assert (
        len(rows) == 5 and rows[-1].endswith("".join(shares)) and rows[0].endswith("".join(clicked))
    )
    maps = page.locator("#writes-v04 table.attention")
    assert maps.count() == loaded(4).Config().n_head
    rows = maps.first.locator("tr").all()[1:]
    for i, row in enumerate(rows):  # each looks at itself and what is before it, in all at 1
        weight = "cells => cells.map((c) => +c.style.getPropertyValue('--weight'))"
        weights = row.locator("td").evaluate_all(weight)
        assert sum(weights) == pytest.approx(1, abs=0.01) and not any(weights[i + 1 :])


def test_a_prompt_with_unknown_characters_is_named_and_nothing_is_written(page):
    open_page(page, "play.html")
    page.fill("input[name=prompt]", "春Q江")
    write(page, ["v01"], wait=False)
    page.wait_for_selector("#writes-v01 .error")
    assert "Q" in page.locator("#writes-v01 .error").inner_text()


def test_the_page_says_when_it_is_done_or_stopped_or_nothing_was_chosen(page):
    open_page(page, "play.html")
    write(page, [])
    assert page.locator("#status").inner_text() == "Choose at least one version."
    write(page, ["v01"], length=3)
    page.wait_for_selector("text=Done.")
    write(page, ["v09"], length=300, wait=False)
    page.wait_for_selector("#writes-v09 .poem span:nth-child(5)")
    page.click("text=Stop")
    page.wait_for_selector("#writes-v09 .text[data-done]")
    assert page.locator("#status").inner_text() == "Stopped."
    assert page.locator("#writes-v09 .poem span").count() < 300


@pytest.mark.parametrize("content", [None, "babygpt.loaded('v01', {", 'babygpt.loaded("v01", {});'])
def test_a_broken_file_of_weights_is_named_on_the_page(page, folder, tmp_path, content):
    page.folder = shutil.copytree(folder, tmp_path / "site")
    file = page.folder / "weights" / "v01.js"
    file.unlink()
    if content:
        file.write_text(content, encoding="utf-8")
    open_page(page, "play.html")
    write(page, ["v01"], wait=False)
    page.wait_for_selector("#writes-v01 .error")
    assert "weights/v01.js" in page.locator("#writes-v01 .error").inner_text()
    page.wrong.clear()  # the browser complains of such a file too
