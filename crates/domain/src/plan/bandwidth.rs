//! How fast a device reads its own memory, by its name. What is not in the table is not known.

use crate::hardware::Gpu;
use std::sync::LazyLock;

/// `GB/s | GiB or * | name`, a card a line.
const TABLE: &str = include_str!("bandwidth.txt");

/// The same read: bytes a second, bytes of memory where a card has several sizes, and the name.
static CARDS: LazyLock<Vec<(u64, Option<u64>, &str)>> = LazyLock::new(|| {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    let cards = lines.filter_map(|line| {
        let mut cells = line.split('|').map(str::trim);
        let (speed, size, name) = (cells.next()?, cells.next()?, cells.next()?);
        let size = if size == "*" { None } else { Some(size.parse::<u64>().ok()? << 30) };
        Some((speed.parse::<u64>().ok()?.saturating_mul(1_000_000_000), size, name))
    });
    cards.collect()
});

/// Words that make another card of a name in the table.
const OTHER_CARDS: &[&str] = &[
    "Ti", "SUPER", "Super", "XT", "XTX", "GRE", "Laptop", "Mobile", "Max-Q", "Ada", "D", "M", "XL", "Pro",
    "PRO",
];

/// Bytes a second.
pub(super) fn of(gpu: &Gpu) -> Option<u64> {
    let matching = CARDS.iter().filter(|(_, size, name)| {
        size.is_none_or(|size| is_about(gpu.total, size)) && is_named(&gpu.name, name)
    });
    matching.map(|(speed, _, name)| (name.len(), *speed)).max().map(|(_, speed)| speed)
}

/// A driver keeps a little of what the box says for itself.
fn is_about(total: u64, nominal: u64) -> bool {
    total.abs_diff(nominal) <= nominal / 10
}

/// Whether a card is called so, and nothing more that would make it another one.
fn is_named(name: &str, wanted: &str) -> bool {
    let Some((before, after)) = name.split_once(wanted) else { return false };
    let is_whole = !before.ends_with(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric);
    let next = after.split_whitespace().next().unwrap_or("");
    is_whole && !OTHER_CARDS.contains(&next)
}

/// Whether two speeds are known, and one is lower by a tenth or more: less does not show.
pub(super) fn differ(one: Option<u64>, other: Option<u64>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one.abs_diff(other) >= one.max(other) / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, gib: u64, gigabytes: Option<u64>) {
        let gpu = Gpu { name: name.into(), total: gib << 30, ..Gpu::default() };
        assert_eq!(of(&gpu), gigabytes.map(|speed| speed * 1_000_000_000), "{name}");
    }

    #[test]
    fn a_card_is_known_by_its_name_as_drivers_write_it() {
        check("NVIDIA GeForce RTX 4090", 24, Some(1008));
        check("NVIDIA GeForce RTX 3060", 12, Some(360));
        check("NVIDIA GeForce RTX 3060", 8, Some(240));
        check("NVIDIA GeForce RTX 3060 Ti", 8, Some(448));
        check("NVIDIA GeForce RTX 4090 Laptop GPU", 16, Some(576));
        check("NVIDIA A100-SXM4-80GB", 80, Some(2039));
        check("AMD Radeon RX 7900 XTX (RADV NAVI31)", 24, Some(960));
        check("Intel(R) Arc(TM) B580 Graphics", 12, Some(456));
    }

    #[test]
    fn what_is_not_in_the_table_is_not_known() {
        check("card", 24, None);
        check("", 24, None);
        check("NVIDIA GeForce RTX 3060", 4, None);
        check("NVIDIA GeForce RTX 5080 SUPER", 24, None);
        check("NVIDIA GeForce RTX 40901", 24, None);
    }

    #[test]
    fn every_line_of_the_table_is_read() {
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let gib = cells[1].parse().unwrap_or(24);
            check(cells[2], gib, Some(cells[0].parse().unwrap()));
        }
    }
}
