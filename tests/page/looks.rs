//! What the page shows, to eyes and to screen readers, by mouse and by keyboard.

use std::sync::Arc;

use serde_json::{Value, json};
use testbed::{Bed, Behaviour, free_port, tests};

use crate::{
    Test,
    browser::{Browser, ENTER, TAB},
    visit::Visit,
};

pub fn all() -> Vec<Test> {
    tests![
        the_name_to_enter_is_copied,
        it_says_whether_the_server_is_well,
        every_control_has_a_role_and_a_name_in_every_language,
        it_works_by_keyboard,
        it_fits_narrow_and_wide_windows,
        its_colours_have_contrast_in_light_and_dark,
        without_scripts_it_still_tells_what_to_enter,
    ]
}

async fn the_name_to_enter_is_copied(browser: Arc<Browser>) {
    let visit = Visit::start(browser).await;
    let browser = &visit.browser;
    let may = json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]});
    browser.cdp("Browser.grantPermissions", may).await;
    browser.click("#copy").await;
    let copied = "return navigator.clipboard.readText()";
    assert_eq!(browser.script(copied).await, "up.example.org");
    assert_eq!(browser.text("#copied").await, "Copied.");
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
}

async fn it_says_whether_the_server_is_well(browser: Arc<Browser>) {
    let visit = Visit::start(browser).await;
    let well = visit.browser.text("main > p.good").await;
    assert!(well.starts_with("This server is well"), "{well}");

    let mut alone = Bed::new().await;
    alone.value("component.port", free_port());
    let daemon = alone.spawn(alone.config.serve());
    daemon.link("connection-refused").await;
    visit.browser.open(&alone.url("/")).await;
    let unlinked = visit.browser.text("main > p.wait").await;
    assert!(
        unlinked.starts_with("This server has no connection"),
        "{unlinked}"
    );
}

async fn every_control_has_a_role_and_a_name_in_every_language(browser: Arc<Browser>) {
    let visit = Visit::start(browser).await;
    let browser = &visit.browser;
    for (language, copy, details) in [
        ("en", "Copy", "For app developers: an encrypted push"),
        (
            "de",
            "Kopieren",
            "Für App-Entwickler: ein verschlüsselter Push",
        ),
        (
            "fr",
            "Copier",
            "Pour les développeurs d’applications : un push chiffré",
        ),
        (
            "es",
            "Copiar",
            "Para desarrolladores de aplicaciones: un push cifrado",
        ),
    ] {
        browser.languages(&format!("{language}-XX,pl")).await;
        visit.open().await;
        let lang = browser.script("return document.documentElement.lang").await;
        assert_eq!(lang, language);
        visit.unfold().await;
        let nodes = browser.accessibility().await;
        let named = |role: &str| -> Vec<&str> {
            let nodes = nodes.iter().filter(|node| node.role == role);
            nodes.map(|node| node.name.as_str()).collect()
        };
        let controls = [
            "button",
            "textbox",
            "spinbutton",
            "link",
            "DisclosureTriangle",
        ];
        for control in controls {
            let names = named(control);
            assert!(!names.is_empty(), "no {control} in {nodes:?}");
            assert!(
                names.iter().all(|name| !name.is_empty()),
                "{control}: {names:?}"
            );
        }
        assert_eq!(named("DisclosureTriangle"), [details]);
        assert_eq!((named("textbox").len(), named("button").len()), (5, 3));
        assert!(named("button").contains(&copy), "{:?}", named("button"));
        assert_eq!((named("main").len(), named("status").len()), (1, 3));
        assert_eq!(named("heading").len(), 3);
        let focusable = "return [...document.querySelectorAll('a, button, input, textarea, summary')]\
                         .every(it => it.tabIndex === 0)";
        assert_eq!(browser.script(focusable).await, true);
    }
}

async fn it_works_by_keyboard(browser: Arc<Browser>) {
    let mut visit = Visit::start(browser).await;
    let endpoint = visit.bed.register("app").await;
    let browser = visit.browser.clone();
    let place = "const it = document.activeElement; \
                 return [it.id || it.innerText, getComputedStyle(it).outlineWidth];";
    let mut order = Vec::new();
    for _ in 0..5 {
        browser.press(TAB).await;
        let found = browser.script(place).await;
        let [name, outline] = [0, 1].map(|n| found[n].as_str().unwrap().to_owned());
        assert_eq!(outline, "3px", "the focus is seen on {name}");
        order.push(name);
    }
    let developers = "For app developers: an encrypted push";
    let expected = [
        "copy",
        "More about UnifiedPush",
        "endpoint",
        "Send test push",
        developers,
    ];
    assert_eq!(order, expected);
    browser.press(ENTER).await;
    for expected in [
        "to",
        "p256dh",
        "auth",
        "message",
        "ttl",
        "Send encrypted push",
    ] {
        browser.press(TAB).await;
        assert_eq!(browser.script(place).await[0], expected);
    }
    // Enter in a field sends its form, and the focus stays.
    browser.fill("#endpoint", &endpoint).await;
    browser.press(ENTER).await;
    visit.said("plain").await.is("good", "201: ");
    assert_eq!(browser.script(place).await[0], "endpoint");
    visit.bed.arrived().await;
}

async fn it_fits_narrow_and_wide_windows(browser: Arc<Browser>) {
    let visit = Visit::start(browser).await;
    let endpoint = visit.bed.register("app").await;
    visit.bed.phone.behave(Behaviour::OFFLINE);
    let browser = &visit.browser;
    for language in ["en", "de", "fr", "es"] {
        browser.languages(language).await;
        for (width, scheme) in [(320, "light"), (1280, "dark")] {
            browser.width(width).await;
            browser.scheme(scheme).await;
            visit.open().await;
            browser
                .picture(&format!("{language}-{width}-{scheme}-folded"))
                .await;
            visit.unfold().await;
            visit.test(&endpoint).await.is("wait", "201: ");
            browser
                .picture(&format!("{language}-{width}-{scheme}"))
                .await;
            let wide = "return [...document.querySelectorAll('body *')]\
                        .filter(it => it.getBoundingClientRect().right > innerWidth)\
                        .map(it => it.outerHTML.slice(0, 80))";
            assert_eq!(
                browser.script(wide).await,
                json!([]),
                "{language} at {width}"
            );
            let sideways = "const page = document.documentElement; \
                            return page.scrollWidth > page.clientWidth";
            assert_eq!(
                browser.script(sideways).await,
                false,
                "{language} at {width}"
            );
            // Fingers need room (WCAG 2.2, 2.5.8).
            let small = "return [...document.querySelectorAll('button, input, textarea, summary')]\
                         .filter(it => it.getBoundingClientRect().height < 44).map(it => it.id)";
            assert_eq!(
                browser.script(small).await,
                json!([]),
                "{language} at {width}"
            );
        }
    }
}

/// WCAG 2.2, 1.4.3 and 1.4.11.
async fn its_colours_have_contrast_in_light_and_dark(browser: Arc<Browser>) {
    let visit = Visit::start(browser).await;
    let browser = &visit.browser;
    let mut pages = Vec::new();
    for scheme in ["light", "dark"] {
        browser.scheme(scheme).await;
        visit.open().await;
        visit.unfold().await;
        let colours = browser.script(COLOURS).await;
        let colours = colours.as_array().unwrap().clone();
        assert!(colours.len() > 30, "{colours:?}");
        for colour in &colours {
            let [front, behind] = [0, 1].map(|n| luminance(&colour[n]));
            let ratio = (front.max(behind) + 0.05) / (front.min(behind) + 0.05);
            let least = colour[3].as_f64().unwrap();
            assert!(ratio >= least, "{scheme}: {ratio:.2} for {colour}");
        }
        pages.push(colours[0][1].clone());
    }
    assert_ne!(pages[0], pages[1], "dark is another page than light");
}

/// In front, behind, of what, and the least contrast: all texts, each of the three kinds of results,
/// placeholders, and the borders of fields.
const COLOURS: &str = "
    document.querySelectorAll('form [role=status]').forEach((it, n) => {
        it.className = ['wait', 'bad'][n];
        it.textContent = 'Said.';
    });
    const behind = (it) => {
        for (; it; it = it.parentElement) {
            const colour = getComputedStyle(it).backgroundColor;
            if (!/, 0\\)$/.test(colour)) return colour;
        }
        return 'rgb(255, 255, 255)';
    };
    const found = [];
    for (const it of document.querySelectorAll('body *')) {
        if (!it.checkVisibility() || it.matches('script')) continue;
        const style = getComputedStyle(it);
        const has = [...it.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (has || it.matches('input')) found.push([style.color, behind(it), it.outerHTML.slice(0, 60), 4.5]);
        if (!it.matches('input, textarea')) continue;
        found.push([style.borderTopColor, behind(it), 'border of ' + it.id, 3]);
        if (it.placeholder) {
            const faint = getComputedStyle(it, '::placeholder').color;
            found.push([faint, behind(it), 'placeholder of ' + it.id, 4.5]);
        }
    }
    return found;
";

/// Of `rgb(1, 2, 3)`: WCAG's relative luminance.
fn luminance(colour: &Value) -> f64 {
    let colour = colour.as_str().unwrap();
    let parts = colour.trim_start_matches("rgb(").trim_end_matches(')');
    let parts: Vec<f64> = parts
        .split(", ")
        .map(|part| part.parse().unwrap())
        .collect();
    let linear = |part: f64| match part / 255.0 {
        low if low <= 0.04045 => low / 12.92,
        high => ((high + 0.055) / 1.055).powf(2.4),
    };
    0.2126 * linear(parts[0]) + 0.7152 * linear(parts[1]) + 0.0722 * linear(parts[2])
}

async fn without_scripts_it_still_tells_what_to_enter(browser: Arc<Browser>) {
    let visit = Visit::start(browser).await;
    let browser = &visit.browser;
    let off = |is_off: bool| json!({ "value": is_off });
    browser
        .cdp("Emulation.setScriptExecutionDisabled", off(true))
        .await;
    visit.open().await;
    let shown = browser.text("main").await;
    let unseen = browser.accessibility().await;
    browser
        .cdp("Emulation.setScriptExecutionDisabled", off(false))
        .await;
    assert!(shown.contains("up.example.org"), "{shown}");
    assert!(shown.contains("The test needs JavaScript"), "{shown}");
    let dead = unseen.iter().find(|node| node.role == "button");
    assert!(dead.is_none(), "a button that does nothing: {dead:?}");
}
