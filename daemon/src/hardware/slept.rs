//! Whether the machine has slept, without a bus: the kernel counts that time in one clock and not in another, and wakes
//! whoever waits on a timer of a third.

use rustix::{
    io::Errno,
    time::{
        ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
        timerfd_create, timerfd_settime,
    },
};
use std::{io, os::fd::OwnedFd, time::Duration};
use tokio::io::{Interest, unix::AsyncFd};

/// Clocks are read one after the other, and drift no further apart meanwhile; a sleep is longer.
const SLEPT: Duration = Duration::from_secs(1);

/// What both clocks say of one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    /// CLOCK_BOOTTIME, which goes on while the machine sleeps.
    all: Duration,
    /// CLOCK_MONOTONIC, which does not.
    awake: Duration,
}

impl Clocks {
    pub(crate) fn now() -> Self {
        let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
        Self { awake: read(ClockId::Monotonic), all: read(ClockId::Boottime) }
    }

    /// How long the machine has slept since then.
    pub(crate) fn slept_until(self, now: Self) -> Option<Duration> {
        let asleep = |clocks: Self| clocks.all.saturating_sub(clocks.awake);
        let slept = asleep(now).saturating_sub(asleep(self));
        (slept >= SLEPT).then_some(slept)
    }
}

/// Wakes when the machine does.
#[derive(Debug)]
pub(crate) struct Alarm(Option<AsyncFd<OwnedFd>>);

impl Alarm {
    /// Needs a runtime. Where the kernel has no such timer, it never wakes.
    #[expect(
        deprecated,
        reason = "what is to replace it takes `unsafe`; nothing else of ours closes this descriptor"
    )]
    pub(crate) fn new() -> Self {
        let timer = || -> io::Result<_> {
            let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
            let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
            set(&timer)?;
            AsyncFd::with_interest(timer, Interest::READABLE)
        };
        Self(timer().ok())
    }

    /// Returns when the clock of day was set, which a machine does that wakes.
    pub(crate) async fn rings(&self) {
        let Some(timer) = &self.0 else { return std::future::pending().await };
        loop {
            let Ok(mut ready) = timer.readable().await else { return std::future::pending().await };
            let read = ready.try_io(|timer| {
                let mut count = [0_u8; 8];
                match rustix::io::read(timer, &mut count) {
                    Err(Errno::CANCELED) => Ok(()),
                    read => read.map(|_| ()).map_err(io::Error::from),
                }
            });
            if read.is_ok() {
                drop(set(timer.get_ref())); // it is still set where that fails
                return;
            }
        }
    }
}

/// Far from now: the timer itself never ends. It is cancelled whenever the clock is set (timerfd_create(2)).
fn set(timer: &OwnedFd) -> io::Result<()> {
    const NEVER: i64 = i64::MAX / 2_000_000_000;
    let never = Itimerspec {
        it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: Timespec { tv_sec: NEVER, tv_nsec: 0 },
    };
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    timerfd_settime(timer, flags, &never)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_what_one_clock_counts_and_the_other_does_not() {
        let at = |all: u64, awake: u64| Clocks {
            all: Duration::from_millis(all),
            awake: Duration::from_millis(awake),
        };
        for (before, now, slept) in [
            (at(5_000, 5_000), at(35_000, 35_000), None),
            (at(5_000, 5_000), at(35_000, 34_500), None), // read half a second apart
            (at(5_000, 5_000), at(3_635_000, 35_000), Some(3600)),
            (at(3_635_000, 35_000), at(3_665_000, 65_000), None), // slept before
            (at(5_000, 5_000), at(5_000, 6_000), None),
        ] {
            assert_eq!(before.slept_until(now).map(|slept| slept.as_secs()), slept, "{before:?} {now:?}");
        }
        assert_eq!(Clocks::now().slept_until(Clocks::now()), None);
    }

    #[test]
    fn the_alarm_is_quiet_while_nobody_sets_the_clock() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let alarm = Alarm::new();
            assert!(alarm.0.is_some());
            let quiet = tokio::time::timeout(Duration::from_millis(20), alarm.rings()).await;
            assert!(quiet.is_err());
        });
    }
}
