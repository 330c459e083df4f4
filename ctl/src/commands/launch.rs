//! `modelctl launch`

use super::order::Order;
use crate::{
    context::Context,
    failure::Failure,
    style::Style,
    text::{clean, shorten},
};
use anyhow::{Context as _, Result};
use api::{
    ApiError, Launch, LaunchUpdate, Request, Run,
    client::{ClientError, HangUp},
};
use clap::Args;
use domain::engines::{Refusal, asks_for_key};
use serde_json::value::RawValue;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
    iterator::{Handle, Signals},
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// Start an engine on a model, wait until it answers, show its log; Ctrl-C stops it
///
/// Where the same runs already, that is shown instead, and goes on after Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl launch llama.cpp qwen3
  modelctl launch llama.cpp qwen3 --max-ctx
  modelctl launch llama.cpp qwen3 --detach
  modelctl launch llama.cpp qwen3 --print
  modelctl launch llama.cpp qwen3 -- --jinja --temp 0.6")]
pub(crate) struct LaunchArgs {
    #[command(flatten)]
    order: Order,
    /// Only print the command
    #[arg(long)]
    print: bool,
    /// Return when it is ready; it runs on until it is stopped
    #[arg(long)]
    detach: bool,
}

impl LaunchArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let mut launch = self.order.request(context)?;
        launch.detach = self.detach;
        if self.print {
            let reply =
                context.connect()?.ask_raw(&Request::Plan { launch, confirm: false, forget: false })?;
            let Launch { plan } = serde_json::from_str(reply.get()).map_err(ClientError::Garbled)?;
            if context.json {
                context.print_json(&reply)?;
            }
            if let Some(Refusal { why, hint }) = plan.refusal() {
                return Err(ClientError::Refused(ApiError::Refused { why, hint }).into());
            }
            if !context.json {
                writeln!(context.out, "{}", plan.command)?;
            }
            return Ok(());
        }
        let mut client = context.connect()?;
        let stop = Stop::on_signals(client.hang_up().context("keeping a second hold of the connection")?)?;
        let mut screen = Screen::new(context, self.detach);
        let followed = client.stream(&Request::Launch { launch }, |update| screen.show(update));
        screen.clear_progress()?;
        match followed {
            Err(error) if stop.is_asked() && is_end(&error) => screen.left()?,
            Err(error) => return Err(screen.with_the_run(error)),
            Ok(()) => {}
        }
        screen.outcome()
    }
}

/// An engine that is stopped while it starts ends in one of these.
fn is_end(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(ClientError::Closed | ClientError::Refused(ApiError::RunFailed { .. }))
    )
}

/// The first signal asks the daemon to stop the run, the second ends this program at once.
struct Stop {
    asked: Arc<AtomicBool>,
    signals: Handle,
}

impl Stop {
    fn on_signals(hang_up: HangUp) -> Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // Before the line that sets the flag: it must see what the signal before left.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked))
                .and_then(|_| flag::register(signal, Arc::clone(&asked)))
                .context("listening for Ctrl-C")?;
        }
        let mut waiting = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("listening for Ctrl-C")?;
        let signals = waiting.handle();
        thread::spawn(move || {
            if waiting.forever().next().is_some() {
                // Fails only where the daemon has closed already, which the reader sees.
                drop(hang_up.hang_up());
            }
        });
        Ok(Self { asked, signals })
    }

    fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.signals.close();
    }
}

/// What is on the terminal, and how the run ended.
struct Screen<'a, 'b> {
    context: &'a mut Context<'b>,
    url: Option<String>,
    /// Why the plan is as it is.
    reasons: Vec<String>,
    /// The page to try, and what to send there.
    request: (&'static str, &'static str),
    /// What goes with it where the engine answers only who knows its key.
    key: &'static str,
    is_ready: bool,
    ticks: usize,
    ended: Option<Failure>,
    is_detached: bool,
    /// The command was told: this launch has started the run, and joined none.
    is_own: bool,
    /// Since it was started.
    run: Option<String>,
}

const SPINNER: [&str; 4] = ["-", "\\", "|", "/"];
const CHAT: (&str, &str) = ("v1/chat/completions", r#"{"messages":[{"role":"user","content":"Hello"}]}"#);
const EMBED: (&str, &str) = ("v1/embeddings", r#"{"input":"Hello"}"#);
const KEY: &str = " -H \"Authorization: Bearer $API_KEY\"";
/// What a progress line may take where the terminal does not tell its width.
const PROGRESS_WIDTH: usize = 80;

impl<'a, 'b> Screen<'a, 'b> {
    fn new(context: &'a mut Context<'b>, is_detached: bool) -> Self {
        Self {
            context,
            url: None,
            reasons: Vec::new(),
            request: CHAT,
            key: "",
            is_ready: false,
            ticks: 0,
            ended: None,
            is_detached,
            is_own: false,
            run: None,
        }
    }

    fn show(&mut self, update: &RawValue) -> Result<bool> {
        let parsed: LaunchUpdate = serde_json::from_str(update.get()).map_err(ClientError::Garbled)?;
        self.note(&parsed);
        if self.context.json {
            self.context.print_json(update)?;
            return Ok(true);
        }
        match parsed {
            LaunchUpdate::Planned { plan } => {
                writeln!(self.context.out, "{}", plan.command)?;
                if plan.argv.iter().any(|word| word == "--embedding" || word == "--embeddings") {
                    self.request = EMBED;
                }
                if asks_for_key(&plan.argv) {
                    self.key = KEY;
                }
                self.url = Some(plan.url);
                self.reasons = plan.explain;
            }
            LaunchUpdate::Started { run } => self.started(&run)?,
            LaunchUpdate::Ready { run } => self.ready(&run)?,
            LaunchUpdate::Log { line } if self.is_ready => writeln!(self.context.out, "{}", clean(&line))?,
            LaunchUpdate::Log { line } => self.progress_log(&line)?,
            LaunchUpdate::Exited { stopped: true, .. } => self.stopped()?,
            LaunchUpdate::Exited { stopped: false, .. } => {}
        }
        self.context.out.flush()?;
        Ok(true)
    }

    /// What matters in every form of output.
    fn note(&mut self, update: &LaunchUpdate) {
        match update {
            LaunchUpdate::Planned { .. } => self.is_own = true,
            LaunchUpdate::Started { run } => self.run = Some(run.run.clone()),
            LaunchUpdate::Exited { run, stopped: true, .. } if self.is_detached => {
                let why = format!("{} was stopped before it was ready", run.engine);
                self.ended = Some(Failure::Ended { why, lines: Vec::new(), hint: None });
            }
            LaunchUpdate::Exited { run, code, signal, stopped: false } => {
                self.ended = Some(how_it_ended(run, *code, *signal, self.is_ready && !self.context.json));
            }
            LaunchUpdate::Ready { .. } | LaunchUpdate::Log { .. } | LaunchUpdate::Exited { .. } => {}
        }
    }

    fn started(&mut self, run: &Run) -> Result<()> {
        if self.is_own {
            return Ok(self.progress(&format!("starting {}", run.engine))?);
        }
        let (word, state) = (clean(&run.run), super::ps::state(run.state));
        writeln!(self.context.err, "the same is {state} already, as {word}: no second one is started")?;
        Ok(())
    }

    fn ready(&mut self, run: &Run) -> Result<()> {
        self.clear_progress()?;
        self.is_ready = true;
        let Style { strong, good, off, .. } = self.context.style;
        let url = run.url.as_deref().or(self.url.as_deref()).unwrap_or("?");
        let out = &mut *self.context.out;
        writeln!(out, "{good}ready{off}    {strong}{}{off}", clean(url))?;
        if let Some(tokens) = run.ctx {
            writeln!(out, "context  {tokens} tokens")?;
        }
        for (number, reason) in self.reasons.iter().enumerate() {
            self.context.say(if number == 0 { "plan     " } else { "         " }, reason)?;
        }
        let out = &mut *self.context.out;
        let (path, body) = self.request;
        let url = url.trim_end_matches('/');
        let key = self.key;
        writeln!(
            out,
            "try      curl {}/{path}{key} -H 'Content-Type: application/json' -d '{body}'",
            clean(url)
        )?;
        out.flush()?;
        for note in &run.notes {
            writeln!(self.context.err, "note: {}", clean(note))?;
        }
        let word = clean(&run.run);
        let told = match (self.is_detached, self.is_own) {
            (true, _) => format!("runs as {word}: modelctl logs -f {word}, modelctl stop {word}"),
            (false, true) => "Ctrl-C stops it".to_owned(),
            (false, false) => "Ctrl-C leaves it running".to_owned(),
        };
        writeln!(self.context.err, "{told}")?;
        Ok(())
    }

    fn progress(&mut self, words: &str) -> io::Result<()> {
        // What stdout holds back would come after it.
        self.context.out.flush()?;
        let words = clean(words);
        if !self.context.environment.stderr_is_terminal {
            return writeln!(self.context.err, "{words}…");
        }
        let room = self.context.environment.width.unwrap_or(PROGRESS_WIDTH).saturating_sub(3);
        let spinner = SPINNER.get(self.ticks % SPINNER.len()).unwrap_or(&"");
        self.ticks += 1;
        write!(self.context.err, "\r\x1b[2K{spinner} {}", shorten(&words, room))?;
        self.context.err.flush()
    }

    /// What the engine says while it starts passes by on a terminal; elsewhere only a failure shows it.
    fn progress_log(&mut self, line: &str) -> io::Result<()> {
        if self.context.environment.stderr_is_terminal { self.progress(line) } else { Ok(()) }
    }

    fn clear_progress(&mut self) -> io::Result<()> {
        if self.ticks == 0 {
            return Ok(());
        }
        self.ticks = 0;
        write!(self.context.err, "\r\x1b[2K")
    }

    fn stopped(&mut self) -> io::Result<()> {
        self.clear_progress()?;
        self.context.out.flush()?;
        writeln!(self.context.err, "stopped")
    }

    /// After Ctrl-C: what it has ended is this program, or the run as well.
    fn left(&mut self) -> io::Result<()> {
        match &self.run {
            Some(run) if !self.is_own || self.is_detached => {
                let run = clean(run).into_owned();
                self.clear_progress()?;
                self.context.out.flush()?;
                writeln!(self.context.err, "{run} goes on; modelctl stop {run} stops it")
            }
            _ => self.stopped(),
        }
    }

    /// A daemon that ends leaves its runs alone.
    fn with_the_run(&self, error: anyhow::Error) -> anyhow::Error {
        let is_lost = matches!(error.downcast_ref(), Some(ClientError::Closed | ClientError::Io(_)));
        match &self.run {
            Some(run) if is_lost => Failure::Unreachable {
                why: "modeld has ended; what it has started runs on".into(),
                lines: Vec::new(),
                hint: format!("modelctl ps shows it, modelctl stop {run} stops it"),
            }
            .into(),
            _ => error,
        }
    }

    fn outcome(self) -> Result<()> {
        self.ended.map_or(Ok(()), |ended| Err(ended.into()))
    }
}

fn how_it_ended(run: &Run, code: Option<i32>, signal: Option<i32>, was_shown: bool) -> Failure {
    let how = match (code, signal) {
        (Some(code), _) => format!("with exit code {code}"),
        (None, Some(signal)) => format!("by signal {signal}"),
        (None, None) => "in an unknown way".to_owned(),
    };
    let known = run.why.as_ref().filter(|why| !how.ends_with(why.as_str()));
    let why = known.map_or_else(String::new, |why| format!(": {why}"));
    let hint = run.hint.clone();
    let hint = hint.or_else(|| was_shown.then(|| "the lines above are the last that it said".to_owned()));
    let lines = if was_shown { Vec::new() } else { run.last_lines.clone() };
    Failure::Ended { why: format!("{} ended by itself, {how}{why}", run.engine), lines, hint }
}
