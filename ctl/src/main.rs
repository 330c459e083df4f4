//! The program around `ctl::run`: the process's own world goes in, its exit code comes out.

use std::{
    io::{self, BufWriter},
    process::ExitCode,
};

fn main() -> ExitCode {
    let environment = ctl::Environment::of_process();
    let mut out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let code = ctl::run(std::env::args_os(), &environment, &mut out, &mut io::stderr().lock());
    ExitCode::from(code)
}
