//! Where bytes come from: the caller owns the reading, so a file, a slice and a fuzzer use one path.

use std::io;

/// Most bytes a parser asks for at once.
pub(crate) const MAX_VIEW: usize = 1 << 20;

/// Enough for a header without a vocabulary; most files that are looked at need no second read.
const FIRST_WINDOW: usize = 64 << 10;

/// Large enough that the system call no longer shows, small enough to stay in the second-level cache.
const WINDOW: usize = 256 << 10;

/// After a jump over data: what is read there is most often the next short header.
const JUMP_WINDOW: usize = 4 << 10;

/// Bytes that can be looked at in any order, a window at a time.
pub trait Input {
    /// Length of the whole input in bytes (for a file, by fstat of the descriptor that is read).
    fn len(&self) -> u64;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes from `at` on: at least `want` of them unless the input ends first, more where that is free.
    ///
    /// `want` is bounded by the parsers (at most 1 MiB), so an implementation may allocate by it.
    fn view(&mut self, at: u64, want: usize) -> io::Result<&[u8]>;
}

/// An input that is wholly in memory.
#[derive(Debug, Clone, Copy)]
pub struct Slice<'a>(pub &'a [u8]);

impl Input for Slice<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn view(&mut self, at: u64, _want: usize) -> io::Result<&[u8]> {
        Ok(usize::try_from(at).ok().and_then(|at| self.0.get(at..)).unwrap_or_default())
    }
}

/// An input behind a positional read such as `|at, buffer| file.read_at(buffer, at)`: one reused buffer, no byte
/// read twice while moving forward.
#[derive(Debug)]
pub struct Windowed<F> {
    read: F,
    len: u64,
    buffer: Vec<u8>,
    /// Where the buffer's first byte is in the input.
    start: u64,
    filled: usize,
}

impl<F: FnMut(u64, &mut [u8]) -> io::Result<usize>> Windowed<F> {
    /// `len` is the length of the input in bytes; `read` fills some of the buffer from a position and says how much.
    pub fn new(len: u64, read: F) -> Self {
        Self { read, len, buffer: Vec::new(), start: 0, filled: 0 }
    }

    /// What the buffer holds from `at` on.
    fn buffered(&self, at: u64) -> &[u8] {
        let skip = at.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| self.buffer.get(skip..self.filled)).unwrap_or_default()
    }

    fn refill(&mut self, at: u64, want: usize) -> io::Result<()> {
        let is_next = at >= self.start && at <= self.start + self.filled as u64;
        let room = match (self.buffer.is_empty(), is_next) {
            (true, _) => FIRST_WINDOW,
            (false, true) => WINDOW,
            (false, false) => JUMP_WINDOW,
        };
        let room = room.max(want);
        let room = room.min(usize::try_from(self.len.saturating_sub(at)).unwrap_or(room));
        let kept = self.buffered(at).len();
        self.buffer.copy_within(self.filled - kept..self.filled, 0);
        (self.start, self.filled) = (at, kept);
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        while self.filled < want {
            let rest = self.buffer.get_mut(self.filled..room).unwrap_or_default();
            let most = rest.len();
            match (self.read)(at + self.filled as u64, rest) {
                Ok(0) => break,
                Ok(read) => self.filled += read.min(most),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<F: FnMut(u64, &mut [u8]) -> io::Result<usize>> Input for Windowed<F> {
    fn len(&self) -> u64 {
        self.len
    }

    fn view(&mut self, at: u64, want: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let want = want.min(MAX_VIEW).min(left);
        if self.buffered(at).len() < want {
            self.refill(at, want)?;
        }
        Ok(self.buffered(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(bytes: &[u8], most: usize) -> Windowed<impl FnMut(u64, &mut [u8]) -> io::Result<usize>> {
        Windowed::new(bytes.len() as u64, move |at, buffer| {
            let from = bytes.get(usize::try_from(at).unwrap()..).unwrap_or_default();
            let n = from.len().min(buffer.len()).min(most);
            buffer[..n].copy_from_slice(&from[..n]);
            Ok(n)
        })
    }

    #[test]
    fn a_window_shows_what_a_slice_shows() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
        for most in [usize::MAX, 70_001, 5000] {
            let mut windowed = input(&bytes, most);
            let positions = [
                0_u64, 5, 65_530, 65_536, 64_000, 400_000, 400_100, 1_000_000, 2_999_999, 0, 3_000_000,
                9_000_000,
            ];
            for at in positions {
                for want in [0, 1, 8, 300_000, MAX_VIEW] {
                    let all = Slice(&bytes).view(at, want).unwrap().to_vec();
                    let seen = windowed.view(at, want).unwrap();
                    assert!(seen.len() >= want.min(all.len()), "{at} {want}: {}", seen.len());
                    assert!(all.starts_with(seen), "{at} {want}");
                }
            }
        }
    }

    #[test]
    fn no_byte_is_read_twice_while_moving_forward() {
        let bytes = vec![7; 2_000_000];
        let mut read = 0;
        let mut windowed = Windowed::new(2_000_000, |at, buffer: &mut [u8]| {
            let n = buffer.len().min(bytes.len() - usize::try_from(at).unwrap());
            read += n;
            Ok(n)
        });
        for at in (0..2_000_000).step_by(1001) {
            windowed.view(at, 1500).unwrap();
        }
        assert_eq!(read, 2_000_000);
    }

    #[test]
    fn an_input_that_shrinks_ends_early() {
        let mut windowed = Windowed::new(100, |_, _: &mut [u8]| Ok(0));
        assert_eq!(windowed.view(0, 10).unwrap(), b"");
    }
}
