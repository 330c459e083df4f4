//! The words of a command for llama-server.

use super::Order;
use std::{collections::BTreeSet, ffi::OsString};

/// The command as it grows: no flag that the program does not have.
pub(super) struct Words<'a> {
    pub(super) argv: Vec<OsString>,
    pub(super) flags: &'a BTreeSet<String>,
    pub(super) explain: Vec<String>,
}

impl<'a> Words<'a> {
    pub(super) fn new(order: &'a Order<'_>) -> Self {
        let mut argv: Vec<OsString> = vec![order.program.clone().into()];
        argv.extend(order.program_arguments.iter().map(OsString::from));
        Self { argv, flags: &order.flags, explain: Vec::new() }
    }

    pub(super) fn put(&mut self, flag: &str, value: impl Into<OsString>) {
        self.expect(flag);
        self.put_if_known(flag, value);
    }

    pub(super) fn put_if_known(&mut self, flag: &str, value: impl Into<OsString>) {
        if self.flags.contains(flag) {
            self.argv.extend([flag.into(), value.into()]);
        }
    }

    pub(super) fn switch(&mut self, flag: &str) {
        self.expect(flag);
        self.switch_if_known(flag);
    }

    pub(super) fn switch_if_known(&mut self, flag: &str) {
        if self.flags.contains(flag) {
            self.argv.push(flag.into());
        }
    }

    fn expect(&mut self, flag: &str) {
        if !self.flags.contains(flag) {
            self.explain.push(format!("{flag} is left out: this llama-server does not have it"));
        }
    }
}
