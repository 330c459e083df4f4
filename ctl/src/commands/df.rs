//! `modelctl df`

use crate::{
    context::Context,
    table::{Column, Table},
    text::clean,
};
use anyhow::Result;
use api::{Request, Usage};
use clap::Args;
use domain::{ByteSize, usage::By};

/// Show where the space went
///
/// Bytes allocated on the disk. What several hold (hard links, links to one file) is counted once, in the first of
/// them: BYTES adds up to the total. EXCLUSIVE is what would be free without it, SHARED what others hold too.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl df
  modelctl df --by root
  modelctl df --by family --json | jq '.shares[:3]'")]
pub(crate) struct DfArgs {
    /// Count by app, root, family, kind or format
    #[arg(long, value_name = "WHAT", default_value = "app", value_parser = names())]
    by: String,
}

fn names() -> Vec<&'static str> {
    By::ALL.iter().map(|(name, _)| *name).collect()
}

impl DfArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let title = match By::parse(&self.by) {
            Some(By::Root) => "ROOT",
            Some(By::Family) => "FAMILY",
            Some(By::Kind) => "KIND",
            Some(By::Format) => "FORMAT",
            Some(By::App) | None => "APP",
        };
        let request = Request::Usage { by: Some(self.by) };
        let Some(usage) = context.ask::<Usage>(&request)? else { return Ok(()) };
        if usage.shares.is_empty() {
            writeln!(context.err, "no models\nhint: `modelctl` shows where they were looked for")?;
            return Ok(());
        }
        let mut table = Table::new(
            [
                Column::Left(title),
                Column::Right("MODELS"),
                Column::Right("BYTES"),
                Column::Right("EXCLUSIVE"),
                Column::Right("SHARED"),
            ],
            0,
        );
        for share in &usage.shares {
            let shared = if share.shared > 0 { ByteSize(share.shared).to_string() } else { String::new() };
            table.push([
                share.name.as_deref().map_or_else(|| "(unknown)".into(), |name| clean(name).into_owned()),
                share.models.to_string(),
                ByteSize(share.bytes).to_string(),
                ByteSize(share.exclusive).to_string(),
                shared,
            ]);
        }
        table.write(context.out, context.style, context.environment.width)?;
        writeln!(context.out, "\n{} in all", ByteSize(usage.total))?;
        usage.filesystems.iter().try_for_each(|disk| {
            let (free, total) = (ByteSize(disk.available), ByteSize(disk.total));
            writeln!(context.out, "{free} free of {total} at {}", places(&disk.roots))
        })?;
        Ok(())
    }
}

/// The first of them, and how many more there are.
fn places(roots: &[String]) -> String {
    let first = roots.first().map_or_else(String::new, |root| clean(root).into_owned());
    match roots.len().saturating_sub(1) {
        0 => first,
        1 => format!("{first} and 1 other root"),
        more => format!("{first} and {more} other roots"),
    }
}
