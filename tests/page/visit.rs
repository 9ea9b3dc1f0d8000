//! A browser at the page of a daemon, beside which a phone is.

use std::sync::Arc;

use testbed::{Bed, Daemon, PATIENCE, eventually};

use crate::browser::Browser;

pub struct Visit {
    pub browser: Arc<Browser>,
    pub bed: Bed,
    pub daemon: Daemon,
    /// Where the browser finds the page.
    pub page: String,
}

/// What a form says below its button.
#[derive(Debug)]
pub struct Said {
    /// `good`, `wait` or `bad`.
    pub kind: String,
    pub text: String,
}

impl Said {
    #[track_caller]
    pub fn is(&self, kind: &str, words: &str) {
        let is = self.kind == kind && self.text.contains(words);
        assert!(is, "{self:?} is not {kind}, {words:?}");
    }
}

impl Visit {
    /// In English, wide and light, with the daemon linked.
    pub async fn start(browser: Arc<Browser>) -> Self {
        Self::with(browser, |_| {}).await
    }

    pub async fn with(browser: Arc<Browser>, settings: impl FnOnce(&mut Bed)) -> Self {
        let mut bed = Bed::new().await;
        bed.text("log.level", "trace");
        let page = bed.url("/");
        settings(&mut bed);
        let daemon = bed.start().await;
        browser.languages("en").await;
        browser.scheme("light").await;
        browser.width(1280).await;
        browser.complaints().await;
        let visit = Self {
            browser,
            bed,
            daemon,
            page,
        };
        visit.open().await;
        visit
    }

    pub async fn open(&self) {
        self.browser.open(&self.page).await;
    }

    /// Sends a test push and reads what is said of it.
    pub async fn test(&self, endpoint: &str) -> Said {
        self.browser.fill("#endpoint", endpoint).await;
        self.browser.click("#plain button").await;
        self.said("plain").await
    }

    pub async fn unfold(&self) {
        self.browser.click("summary").await;
    }

    /// Sends an encrypted push by the form, which must be unfolded.
    pub async fn encrypted(&self, fields: &[(&str, &str)]) -> Said {
        for (field, value) in fields {
            self.browser.fill(&format!("#{field}"), value).await;
        }
        self.browser.click("#encrypted button").await;
        self.said("encrypted").await
    }

    pub async fn said(&self, form: &str) -> Said {
        let look = format!(
            "const said = document.querySelector('#{form} [role=status]'); \
             return [said.className, said.innerText];"
        );
        eventually("the form says something", PATIENCE, async || {
            let said = self.browser.script(&look).await;
            let text = |n: usize| said[n].as_str().unwrap().to_owned();
            let said = Said {
                kind: text(0),
                text: text(1),
            };
            (!said.kind.is_empty()).then_some(said)
        })
        .await
    }
}
