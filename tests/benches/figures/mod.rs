//! Figures as they are printed: percentiles, and what was measured beside its floor and its goal.

/// Returns the value below which `part` (0 to 1) of the values lie.
pub fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * part).ceil() as usize;
    sorted[at.clamp(1, sorted.len()) - 1]
}

/// Prints milliseconds, the same of a floor measured in the same run, and their ratio.
pub fn compare(what: &str, measured: f64, floor: f64, goal: Option<f64>) {
    let ratio = measured / floor;
    let goal = goal.map_or_else(String::new, |goal| {
        format!("  (goal {goal}: {})", if ratio <= goal { "met" } else { "MISSED" })
    });
    println!("{what:<44} {measured:>9.2} ms  floor {floor:>9.2} ms  ratio {ratio:>6.2}{goal}");
}
