//! Colours, all of them. They repeat what the words say and never stand alone.

#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) strong: &'static str,
    pub(crate) faint: &'static str,
    pub(crate) good: &'static str,
    pub(crate) warn: &'static str,
    pub(crate) bad: &'static str,
    pub(crate) off: &'static str,
}

const COLOUR: Style = Style {
    strong: "\x1b[1m",
    faint: "\x1b[2m",
    good: "\x1b[32m",
    warn: "\x1b[33m",
    bad: "\x1b[1;31m",
    off: "\x1b[0m",
};
const PLAIN: Style = Style { strong: "", faint: "", good: "", warn: "", bad: "", off: "" };

impl Style {
    pub(crate) fn new(coloured: bool) -> Self {
        if coloured { COLOUR } else { PLAIN }
    }
}
