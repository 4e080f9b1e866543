"""The site in a real browser, opened from disk, without a network (axe-core looks at its access).

Needs pip install -r workshop/site/requirements.txt and Chromium; without one of them these tests
are skipped, but not where CI is set: there they fail.
"""

import itertools
import os
import shutil
from pathlib import Path

import pytest
import torch
from poems import by_tune, form, read_rhymes, rhymed, rhyming_pairs, split_poems
from records import Records
from steps import ROOT
from test_site import LANGUAGES, built, model_of

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
RUN_AXE = "axe.run({ preload: false, selectors: false, resultTypes: ['violations'] })"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)

if not os.environ.get("CI"):
    pytest.importorskip("playwright", reason="needs pip install -r workshop/site/requirements.txt")
    if CHROMIUM is None:
        pytest.skip("needs Chromium", allow_module_level=True)


SECOND = """Object.defineProperties(navigator, {
  connection: { get: () => ({ saveData: true }) }, language: { get: () => "zh-TW" },
})"""


@pytest.fixture(scope="module")
def tabs():
    """Two tabs for all tests, as each costs a process: the second is of who has little data."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        args = ["--no-sandbox", "--disable-gpu"]  # there is none, and to imitate one takes time
        browser = p.chromium.launch(executable_path=CHROMIUM, args=args)
        context = browser.new_context(offline=True, reduced_motion="reduce")
        tabs = [watched(context.new_page()) for _ in range(2)]
        tabs[1].add_init_script(SECOND)
        yield tabs
        browser.close()


def watched(page):
    """Write down what a page asks for elsewhere or complains of."""
    page.wrong = wrong = []
    page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda r: r.url.startswith(("file:", "about:")) or wrong.append(r.url))
    return page


@pytest.fixture
def page(tabs):
    """A page without a network; what it asks for elsewhere or complains of fails the test."""
    yield from fresh(tabs[0])


@pytest.fixture
def play(tabs):
    """The page of play, where nothing is written until asked for; loaded once, with its models."""
    for page in fresh(tabs[1]):
        if not page.url.endswith("/en/play.html"):
            open_page(page, "play")
        yield page


def fresh(page):
    page.set_viewport_size({"width": 1280, "height": 720})
    page.emulate_media(media="screen", color_scheme="light")
    page.wrong.clear()
    yield page
    assert not page.wrong


def open_page(page, name, language="en", folder=None):
    page.goto(((folder or built()) / language / f"{name}.html").as_uri())


def test_every_page_opens_from_disk_fits_a_phone_and_asks_for_nothing_elsewhere(page):
    """In one of the two languages, in turn; play begins to write, and is tested below."""
    page.set_viewport_size({"width": 360, "height": 740})
    names = sorted(file.stem for file in (built() / "en").glob("*.html") if file.stem != "play")
    for name, language in zip(names, itertools.cycle(LANGUAGES), strict=False):
        open_page(page, name, language)
        found = page.evaluate("""({
          title: document.title, language: document.documentElement.lang,
          width: document.documentElement.scrollWidth,
          header: document.querySelector("header").offsetHeight,
          broken: [...document.images].filter((i) => !i.naturalWidth).map((i) => i.src),
          empty: all("[data-figure]:empty").map((figure) => figure.dataset.figure),
        })""")
        assert found["title"] and found["language"] == language
        assert found["width"] <= 360 and found["header"] < 60, (name, found)
        assert found["broken"] == found["empty"] == [], name


def test_the_start_leads_to_the_language_of_the_reader(page, tabs):
    for tab, language in zip(tabs, LANGUAGES, strict=True):
        tab.goto((built() / "index.html").as_uri())
        tab.wait_for_url(f"**/{language}/index.html")
        assert not tab.wrong


@pytest.mark.parametrize(
    "name, language, scheme",
    [
        ("index", "en", "light"),
        ("v02", "en", "light"),
        ("v03", "zh-CN", "dark"),
        ("play", "zh-CN", "dark"),
    ],
)
def test_axe_finds_nothing(request, language, name, scheme):
    page = request.getfixturevalue("play" if name == "play" else "page")
    page.emulate_media(color_scheme=scheme)
    open_page(page, name, language)
    if name == "play":
        write(page, "v04")
    folds = "main details:not(.diff details)"  # what is folded in code is like what is shown
    page.evaluate(f"for (const d of document.querySelectorAll('{folds}')) d.open = true")
    page.add_script_tag(path=AXE)
    found = page.evaluate(RUN_AXE)["violations"]
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found] == []


def test_no_line_of_code_wraps_at_a_desk(page):
    page.set_viewport_size({"width": 1400, "height": 900})
    for name in ("v01", "v03", "v12"):
        open_page(page, name)
        page.evaluate("for (const d of document.querySelectorAll('main details')) d.open = true")
        tall = "all('.diff .line').filter((l) => l.offsetHeight > 34).map((l) => l.textContent)"
        assert page.evaluate(tall) == []


def test_a_projector_at_200_percent_has_its_screen_for_the_lesson(page):
    page.set_viewport_size({"width": 700, "height": 450})
    open_page(page, "v07")
    page.locator(".answer > summary").press("Enter")
    assert not page.locator("[data-layout]").first.is_visible()  # two columns have no room
    assert page.evaluate("all('.measured .wide').every((t) => t.scrollWidth <= t.clientWidth)")
    keys = [page.locator("#main .choice").nth(i).bounding_box() for i in (0, 1)]
    assert keys[0]["y"] == keys[1]["y"]
    page.evaluate("scrollTo(0, 1000)")
    assert page.evaluate("document.querySelector('header').getBoundingClientRect().bottom") < 0


def test_arrow_keys_turn_the_pages_but_not_from_a_wide_table(page):
    open_page(page, "v07")
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/v08.html")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**/v07.html")
    page.keyboard.press("Alt+ArrowRight")
    wide = page.locator(".measured .wide").first
    wide.evaluate("(table) => (table.tabIndex = 0, table.focus())")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(100)
    assert page.url.endswith("v07.html")


def test_a_step_hides_its_answer_takes_a_guess_and_shows_comments_in_both_languages(page):
    page.set_viewport_size({"width": 1400, "height": 900})
    open_page(page, "v07", "zh-CN")
    line = page.locator(".diff ins.line").first
    assert not line.is_visible()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert line.is_visible() and not page.locator(".guess, .answer > summary").first.is_visible()
    page.emulate_media(media="screen")
    page.locator(".answer > summary").press("Enter")
    assert not line.is_visible()
    page.locator(".answer > summary").press("Enter")  # one may have written it first
    old, new = (page.locator(f".diff {tag}.line").first.bounding_box() for tag in ("del", "ins"))
    assert old["y"] == new["y"] and old["x"] < new["x"]  # side by side
    page.click("[data-layout=unified]")
    old, new = (page.locator(f".diff {tag}.line").first.bounding_box() for tag in ("del", "ins"))
    assert old["y"] < new["y"] and old["x"] == new["x"]
    folded = page.get_by_text("class Head(nn.Module)").first
    page.locator(".diff summary", has_text="Head").first.press("Enter")
    assert folded.is_visible()
    comment = page.locator(".diff .c[data-en]").first
    chinese = comment.text_content()
    page.click("[data-comments=en]")
    assert comment.text_content() != chinese and comment.get_attribute("data-en") == chinese
    answer = page.locator(".exercise details")
    assert not answer.evaluate("(details) => details.open")
    page.fill(".guess input", "4.9")
    page.keyboard.press("Enter")
    assert answer.evaluate("(details) => details.open")
    assert "4.9" in page.locator(".guess [role=status]").inner_text()
    page.click("header a[hreflang]")
    page.wait_for_url("**/en/v07.html")


# --- poems


def write(page, name, beside="", enough=20, **fields):
    """Let a model write, maybe with another beside it, so many characters: each takes time."""
    page.select_option("select[name=model] >> nth=0", name)
    page.select_option("select[name=model] >> nth=1", beside)
    for field, value in fields.items():
        page.locator(f"[name={field}]").evaluate("(f, value) => (f.value = value)", value)
    page.click("form button.first")
    if enough:
        names = [written for written in (name, beside) if written]
        long_enough = """([names, enough]) => names.every((name) =>
          all(`#${name}[data-done]`).length || all(`#${name} .verse > *`).length >= enough)"""
        boxes = [[f"writes-{written}" for written in names], enough]
        page.wait_for_function(long_enough, arg=boxes, timeout=60_000, polling=100)
        page.click("form button[type=button]")
        for written in names:
            page.wait_for_selector(f"#writes-{written}[data-done]")


def text_of(page, name):
    code = f"all('#writes-{name} .verse > *').map((c) => c.dataset.char ?? c.textContent)"
    return "".join(page.evaluate(code)).replace("⏎", "\n")


def test_the_page_writes_what_pytorch_would_with_the_same_random_numbers(play):
    """Past the window of v9, too, up to the blank line that ends a poem."""
    begin = "浣溪沙 苏轼\n往"
    write(play, "v09", "evening", enough=70, prompt=begin, seed="5", temperature="0.8")
    randoms = play.evaluate("((r) => Array.from({length: 100}, r))(randomNumbers(5))")
    for name in ("v09", "evening"):
        assert_written(begin, text_of(play, name), randoms, *model_of(name))


def assert_written(begin, text, randoms, _, model, chars, saved):
    """Fail unless the model goes on from the beginning like that."""
    ids = [chars.index(char) for char in begin]
    for number in randoms[: min(len(text) - len(begin), 60)]:
        with torch.no_grad():
            logits = model(torch.tensor([ids[-saved["shape"]["block_size"] :]]))[0][0, -1]
        sums = torch.softmax(logits.double() / 0.8, dim=-1).cumsum(dim=-1)
        ids.append(int((sums > number).nonzero()[0]))
    assert len(ids) > 20 and text.startswith("".join(chars[i] for i in ids))


def test_poems_are_judged_as_by_form(play):
    poems = Records().of("evening")[0]["form"]["poems"]
    corpus = (ROOT / "data" / "ci.txt").read_text(encoding="utf-8")
    groups = read_rhymes((ROOT / "data" / "rhymes.txt").read_text(encoding="utf-8"))
    bodies = by_tune(split_poems(f"\n\n{corpus}"))
    judge = """(texts) => texts.map((text) => {
      const [node, summary] = ["div", "p"].map((tag) => document.createElement(tag));
      const poem = new Poem(node, summary, { summary: "{} {} {} {}", line: "" });
      for (const char of text) poem.add(char);
      return [poem.lengths, poem.verdict().split(" ").map(Number)];
    })"""
    texts = [f"{poem['tune']} 苏轼\n{poem['body']}\n" for poem in poems]
    judged = play.evaluate(judge, texts)
    for poem, (lengths, (right, of, rhymes, _)) in zip(poems, judged, strict=True):
        assert tuple(lengths) == form(poem["body"]) and of == len(lengths)
        assert right == of or not poem["whole"]
        pairs = rhyming_pairs(bodies[poem["tune"]], groups)
        assert rhymes == rhymed(poem["body"], pairs, groups)


def test_of_each_character_the_likeliest_and_what_attention_saw_are_shown(play):
    write(play, "v04", "v09", prompt="浣溪沙 苏轼\n往")
    assert play.locator("#writes-v09 .poem").is_visible()
    play.locator("#writes-v04 .poem").focus()
    play.keyboard.press("Home")

    def shown():
        likely = play.locator("#writes-v04 li").all_inner_texts()
        looks = "all('#writes-v04 .verse > *').map((c) => c.style.getPropertyValue('--look'))"
        return likely, [float(look) for look in play.evaluate(looks) if look]

    first, _ = shown()
    assert len(first) == 5
    play.select_option("#writes-v04 .likely select", "all")
    play.keyboard.press("Tab")
    play.locator("#writes-v04 .poem").focus()
    play.keyboard.press("ArrowRight")
    likely, looks = shown()
    assert likely != first and len(looks) == 8 and sum(looks) == pytest.approx(1, abs=0.01)
    assert play.url.endswith("play.html")


def test_what_goes_wrong_is_said_on_the_page(play, tmp_path):
    write(play, "v01", prompt="春Q江", enough=0)
    play.wait_for_selector("#writes-v01 .error:has-text('Q')")
    assert play.locator("#writes-v01 .poem b").count() == 0
    folder = tmp_path / "site"
    shutil.copytree(built(), folder, ignore=shutil.ignore_patterns("v*.js", "*.zip", "evening.js"))
    open_page(play, "play", folder=folder)
    write(play, "v01", enough=0)
    play.wait_for_selector("#writes-v01 .error:has-text('weights/v01.js')")
    play.wrong.clear()  # the browser complains of such a file too


def test_the_first_page_lets_the_model_write_another_poem(page):
    open_page(page, "index", "zh-CN")
    page.wait_for_function("document.getElementById('summary').textContent.includes('句')")
    first = page.locator("#poem").inner_text()
    assert first.count("✓") >= 6 and first.startswith("浣溪沙")
    page.click("#another")
    page.wait_for_function(
        "(first) => { const now = document.getElementById('poem').innerText;"
        " return now.includes('✓') && !now.startsWith(first); }",
        arg=first[:20],
        timeout=30_000,
    )
