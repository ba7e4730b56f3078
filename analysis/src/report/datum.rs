//! A text of the page with the places in `summary.json` that its figures were made of.

/// What one cell of a table says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Datum {
    /// The text.
    pub text: String,
    /// JSON pointers (RFC 6901) into `summary.json`, one for each number in the text, in their
    /// order; `a-b` is the difference of two. Empty: the text is no figure of the summary.
    pub from: Vec<String>,
    /// Whether there is nothing to be said, for which the text has a dash.
    absent: bool,
}

impl Datum {
    /// A text with as many numbers in it as places are named.
    #[must_use]
    pub fn figures(text: impl Into<String>, from: Vec<String>) -> Self {
        Self {
            text: text.into(),
            from,
            absent: false,
        }
    }

    /// A text with one number in it, and its place.
    #[must_use]
    pub fn figure(text: impl Into<String>, from: impl Into<String>) -> Self {
        Self::figures(text, vec![from.into()])
    }

    /// Two numbers with a dash between them.
    #[must_use]
    pub fn range(
        low: impl Into<String>,
        from: impl Into<String>,
        high: impl Into<String>,
        to: impl Into<String>,
    ) -> Self {
        let text = format!("{} – {}", low.into(), high.into());
        Self::figures(text, vec![from.into(), to.into()])
    }

    /// A dash: there is no figure.
    #[must_use]
    pub fn none() -> Self {
        Self {
            text: "–".to_owned(),
            from: Vec::new(),
            absent: true,
        }
    }

    /// Whether it is [`Datum::none`].
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.absent
    }
}

impl From<String> for Datum {
    fn from(text: String) -> Self {
        Self::figures(text, Vec::new())
    }
}

impl From<&str> for Datum {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<&String> for Datum {
    fn from(text: &String) -> Self {
        text.clone().into()
    }
}
