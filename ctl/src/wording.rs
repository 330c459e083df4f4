//! Numbers and times as people say them.

use domain::{
    ByteSize, Progress,
    plan::{Fit, How},
};
use jiff::Timestamp;

/// Parameters: `8.2B`, and `30.5B-A3.3B` where only some work on one token.
pub(crate) fn parameters(all: Option<u64>, active: Option<u64>) -> String {
    match (all, active) {
        (None, _) => String::new(),
        (Some(all), Some(active)) if active < all => format!("{}-A{}", count(all), count(active)),
        (Some(all), _) => count(all),
    }
}

/// Counts in thousands: `494M`, `8.2B`.
pub(crate) fn count(number: u64) -> String {
    let (unit, name) = match number {
        0..1_000 => return number.to_string(),
        1_000..1_000_000 => (1_000, "K"),
        1_000_000..1_000_000_000 => (1_000_000, "M"),
        1_000_000_000..1_000_000_000_000 => (1_000_000_000, "B"),
        _ => (1_000_000_000_000, "T"),
    };
    let tenths = number.saturating_add(unit / 20) / (unit / 10);
    if tenths >= 1000 || unit == 1_000_000 {
        return format!("{}{name}", number.saturating_add(unit / 2) / unit);
    }
    format!("{}.{}{name}", tenths / 10, tenths % 10)
}

/// Tokens: `32k` where that is exact or nearly so, `512` as it is.
pub(crate) fn tokens(number: u64) -> String {
    match number {
        0..1024 => number.to_string(),
        1024..1_048_576 => format!("{}k", number / 1024),
        _ if number.is_multiple_of(1_048_576) => format!("{}M", number / 1_048_576),
        _ => format!("{}k", number / 1024),
    }
}

/// How a model fits: `GPU 32k`, `24 of 48 layers 16k`, `no: 6.0 GiB short`. With all layers on the GPU and experts in
/// main memory it is `GPU+RAM 16k`.
pub(crate) fn fit(fit: &Fit) -> String {
    let ctx = tokens(fit.ctx);
    match fit.how {
        How::Gpu => format!("GPU {ctx}"),
        How::Partial if fit.gpu_layers == fit.layers => format!("GPU+RAM {ctx}"),
        How::Partial => format!("{} of {} layers {ctx}", fit.gpu_layers, fit.layers),
        How::Cpu => format!("CPU {ctx}"),
        How::No => match fit.short {
            Some(short) => format!("no: {} short", ByteSize(short)),
            None => "no".into(),
        },
    }
}

pub(crate) fn models(number: u64) -> String {
    if number == 1 { "1 model".into() } else { format!("{number} models") }
}

/// How far a download is, in a few words: `43 % 12.0 MiB/s`.
pub(crate) fn progress_short(progress: &Progress) -> String {
    let percent = progress.percent().map(|percent| format!("{percent}%"));
    percent.into_iter().chain(rate(progress)).collect::<Vec<_>>().join(" ")
}

/// How far a download is: `43%, 2.1 GiB of 4.9 GiB, 12.0 MiB/s, 4 min left`.
pub(crate) fn progress(progress: &Progress) -> String {
    let size = match (progress.bytes, progress.total) {
        (Some(bytes), Some(total)) => Some(format!("{} of {}", ByteSize(bytes), ByteSize(total))),
        (Some(bytes), None) => Some(format!("{} of an unknown size", ByteSize(bytes))),
        (None, total) => total.map(|total| format!("of {}", ByteSize(total))),
    };
    let percent = progress.percent().map(|percent| format!("{percent}%"));
    let nothing = (progress.rate == Some(0)).then(|| "nothing comes any more".to_owned());
    let left = progress.seconds_left().map(|seconds| format!("{} left", lasting(seconds)));
    [percent, size, rate(progress), nothing, left].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn rate(progress: &Progress) -> Option<String> {
    progress.rate.filter(|rate| *rate > 0).map(|rate| format!("{}/s", ByteSize(rate)))
}

/// How long something takes: `4 min`.
fn lasting(seconds: u64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..5_400 => format!("{} min", seconds.div_ceil(60)),
        5_400..172_800 => format!("{} h", seconds.div_ceil(3_600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

/// How long ago: `3 min ago`.
pub(crate) fn ago(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second());
    match seconds {
        ..5 => "just now".into(),
        5..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        86_400..172_800 => "yesterday".into(),
        172_800..5_184_000 => format!("{} days ago", seconds / 86_400),
        5_184_000..63_072_000 => format!("{} months ago", seconds / 2_592_000),
        _ => format!("{} years ago", seconds / 31_536_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_model_fits_is_told_in_a_few_words() {
        let of = |how, (gpu_layers, ctx), short| {
            let fit = Fit { fits: how != How::No, how, ctx, gpu_layers, layers: 48, n_cpu_moe: 0, short };
            super::fit(&fit)
        };
        assert_eq!(of(How::Gpu, (48, 32_768), None), "GPU 32k");
        assert_eq!(of(How::Partial, (24, 16_384), None), "24 of 48 layers 16k");
        assert_eq!(of(How::Partial, (48, 16_384), None), "GPU+RAM 16k");
        assert_eq!(of(How::Cpu, (0, 8192), None), "CPU 8k");
        assert_eq!(of(How::No, (0, 256), Some(6 << 30)), "no: 6.0 GiB short");
    }

    #[test]
    fn numbers_read_like_a_model_card() {
        assert_eq!(parameters(Some(8_190_735_360), Some(8_190_735_360)), "8.2B");
        assert_eq!(parameters(Some(30_532_122_624), Some(3_350_000_000)), "30.5B-A3.4B");
        assert_eq!(parameters(None, None), "");
        for (number, text) in [
            (7, "7"),
            (22_700, "22.7K"),
            (494_032_768, "494M"),
            (70_553_706_496, "70.6B"),
            (99_960_000_000, "100B"),
            (670_000_000_000, "670B"),
            (1_040_000_000_000, "1.0T"),
        ] {
            assert_eq!(count(number), text);
        }
        for (number, text) in [
            (512, "512"),
            (2048, "2k"),
            (40_960, "40k"),
            (131_072, "128k"),
            (1_048_576, "1M"),
            (1_010_000, "986k"),
        ] {
            assert_eq!(tokens(number), text);
        }
    }

    #[test]
    fn a_download_reads_like_a_progress_bar() {
        let gib = 1 << 30;
        let at = |bytes, total, rate| Progress { bytes, total, rate };
        let going = at(Some(gib), Some(4 * gib), Some(16 << 20));
        assert_eq!(progress_short(&going), "25% 16.0 MiB/s");
        assert_eq!(progress(&going), "25%, 1.0 GiB of 4.0 GiB, 16.0 MiB/s, 4 min left");
        let still = at(Some(gib), None, Some(0));
        assert_eq!(progress(&still), "1.0 GiB of an unknown size, nothing comes any more");
        assert_eq!((progress_short(&still), progress(&at(None, None, None))), (String::new(), String::new()));
        assert_eq!(
            (lasting(59), lasting(7_200), lasting(864_000)),
            ("59 s".into(), "2 h".into(), "10 days".into())
        );
    }

    #[test]
    fn times_read_like_a_person_says_them() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        for (then, text) in [
            ("2026-11-22T12:00:05Z", "just now"),
            ("2026-11-22T11:59:20Z", "40 s ago"),
            ("2026-11-22T11:57:00Z", "3 min ago"),
            ("2026-11-22T07:00:00Z", "5 h ago"),
            ("2026-11-21T07:00:00Z", "yesterday"),
            ("2026-10-23T12:00:00Z", "30 days ago"),
            ("2026-08-22T12:00:00Z", "3 months ago"),
            ("2023-11-22T12:00:00Z", "3 years ago"),
        ] {
            assert_eq!(ago(now, then.parse().unwrap()), text);
        }
    }
}
