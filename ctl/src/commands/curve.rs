//! Memory against context, drawn with characters.

use domain::{
    ByteSize,
    plan::{Curve, Point},
};

/// Columns and rows of the drawing, labels left out; a narrow terminal gets fewer columns.
const COLUMNS: usize = 64;
const ROWS: usize = 16;
const FEWEST: usize = 24;
/// What stands before the axis: a size.
const LABEL: usize = 10;

/// The characters of a drawing.
struct Pens {
    series: [char; 3],
    limit: char,
    planned: char,
    axis: char,
    corner: char,
    floor: char,
}

const DRAWN: Pens =
    Pens {
        series: ['●', '▲', '■'], limit: '─', planned: '┊', axis: '│', corner: '└', floor: '─'
    };
const ASCII: Pens =
    Pens { series: ['o', '+', 'x'], limit: '-', planned: ':', axis: '|', corner: '+', floor: '-' };

/// Returns the lines of the drawing, and of what its characters mean.
pub(super) fn draw(curve: &Curve, width: Option<usize>, has_utf8: bool) -> Vec<String> {
    let pens = if has_utf8 { DRAWN } else { ASCII };
    let columns = width.map_or(COLUMNS, |width| width.saturating_sub(LABEL + 2).clamp(FEWEST, COLUMNS));
    let points = || curve.series.iter().flat_map(|series| &series.points);
    let most_ctx = points().map(|point| point.ctx).max().unwrap_or(0).max(curve.ctx).max(1);
    let scale = Scale::of(curve);
    let column = |ctx: u64| scaled(ctx, most_ctx, columns);
    let mut grid = vec![vec![' '; columns]; ROWS];
    let mut put = |row: usize, column: usize, pen: char| {
        if let Some(cell) = grid.get_mut(row).and_then(|row| row.get_mut(column)) {
            *cell = pen;
        }
    };
    (0..columns).for_each(|column| put(scale.limit_row, column, pens.limit));
    (0..ROWS).for_each(|row| put(row, column(curve.ctx), pens.planned));
    // The plainest type is drawn last: where two meet it is the one that is seen.
    for (series, pen) in curve.series.iter().zip(pens.series).rev() {
        for Point { ctx, bytes } in &series.points {
            put(scale.row(*bytes), column(*ctx), pen);
        }
    }
    let mut lines = Vec::new();
    for (at, cells) in grid.iter().enumerate() {
        let label = match at {
            _ if at == scale.limit_row => ByteSize(curve.limit).to_string(),
            0 => ByteSize(scale.most).to_string(),
            _ => String::new(),
        };
        let cells: String = cells.iter().collect();
        lines.push(format!("{label:>LABEL$} {}{}", pens.axis, cells.trim_end()));
    }
    let floor: String = std::iter::repeat_n(pens.floor, columns).collect();
    lines.push(format!("{:>LABEL$} {}{floor}", ByteSize(scale.least).to_string(), pens.corner));
    lines.push(format!("{:>LABEL$}  0{:>width$}", "", format!("{most_ctx} tokens"), width = columns - 1));
    lines.push(legend(curve, &pens));
    lines
}

/// Bytes as rows, from a little below the least of them: what a large model takes at every context would leave half of the
/// rows empty.
struct Scale {
    least: u64,
    most: u64,
    limit: u64,
    limit_row: usize,
}

impl Scale {
    fn of(curve: &Curve) -> Self {
        let points = curve.series.iter().flat_map(|series| &series.points).map(|point| point.bytes);
        let all = || points.clone().chain([curve.limit]);
        let (least, most) = (all().min().unwrap_or(0), all().max().unwrap_or(0));
        let least = least.saturating_sub((most - least) / ROWS as u64);
        let mut scale = Self { least, most, limit: curve.limit, limit_row: 0 };
        scale.limit_row = scale.nearest(curve.limit).max(usize::from(most > curve.limit));
        scale
    }

    /// What is beyond the limit stands above its line, however little it is.
    fn row(&self, bytes: u64) -> usize {
        let row = self.nearest(bytes);
        if bytes > self.limit { row.min(self.limit_row.saturating_sub(1)) } else { row.max(self.limit_row) }
    }

    fn nearest(&self, bytes: u64) -> usize {
        ROWS - 1 - scaled(bytes.saturating_sub(self.least), self.most - self.least, ROWS)
    }
}

fn legend(curve: &Curve, pens: &Pens) -> String {
    let series = curve.series.iter().zip(pens.series);
    let mut parts: Vec<String> =
        series.map(|(series, pen)| format!("{pen} {} KV", series.cache_type.name())).collect();
    parts.push(format!("{} what may be taken", pens.limit));
    parts.push(format!("{} the plan: {} tokens", pens.planned, curve.ctx));
    parts.join("   ")
}

/// Where something is among so many places.
fn scaled(value: u64, most: u64, places: usize) -> usize {
    let last = u128::try_from(places.saturating_sub(1)).unwrap_or(0);
    let at = u128::from(value) * last / u128::from(most.max(1));
    usize::try_from(at).unwrap_or(0).min(places.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{memory::CacheType, plan::Series};

    fn curve() -> Curve {
        let points =
            |slope: u64| (0..=4).map(|at| Point { ctx: at * 1024, bytes: (2 + at * slope) << 30 }).collect();
        let series = |cache_type, slope| Series { cache_type, points: points(slope) };
        Curve {
            limit: 8 << 30,
            ctx: 2048,
            series: vec![series(CacheType::F16, 2), series(CacheType::Q8_0, 1)],
        }
    }

    #[test]
    fn a_curve_is_drawn_with_its_limit_and_the_plan() {
        let lines = draw(&curve(), Some(38), false);
        assert_eq!(
            lines,
            [
                "  10.0 GiB |            :            o",
                "           |            :",
                "           |            :",
                "           |            :",
                "   8.0 GiB |------------:-----o-------",
                "           |            :",
                "           |            :",
                "           |            :",
                "           |            o            +",
                "           |            :     +",
                "           |            :",
                "           |      o     +",
                "           |            :",
                "           |      +     :",
                "           |            :",
                "           |o           :",
                "   1.5 GiB +--------------------------",
                "            0              4096 tokens",
                "o f16 KV   + q8_0 KV   - what may be taken   : the plan: 2048 tokens",
            ]
        );
    }

    #[test]
    fn what_is_beyond_the_limit_stands_above_its_line_however_little_it_is() {
        let points = [70, 71, 99, 100, 101].map(|bytes| Point { ctx: bytes, bytes });
        for limit in [0, 69, 70, 99, 100, 101, 102, 5000] {
            let series = vec![Series { cache_type: CacheType::F16, points: points.into() }];
            let scale = Scale::of(&Curve { limit, ctx: 99, series });
            for Point { bytes, .. } in points {
                assert_eq!(scale.row(bytes) < scale.limit_row, bytes > limit, "{bytes} of {limit}");
            }
            assert!(scale.limit_row < ROWS && scale.row(70) < ROWS, "{limit}");
        }
    }

    #[test]
    fn without_utf8_nothing_else_than_ascii_is_drawn() {
        assert!(draw(&curve(), None, false).iter().all(|line| line.is_ascii()));
        let drawn = draw(&curve(), None, true).join("\n");
        assert!(
            drawn.contains('●') && drawn.contains('─') && drawn.contains("the plan: 2048 tokens"),
            "{drawn}"
        );
    }
}
