//! SHA-256 of a whole file and of what lies behind its header, in one pass. Reads, and writes nothing: access times
//! stay as they are where the file was opened so.

use domain::hashes::{AUTOV1, Digests};
use rustix::fs::Advice;
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, ErrorKind, IoSliceMut},
    num::NonZeroU64,
    ops::Range,
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

/// Read at once, bytes: small enough for a processor's own cache, large enough for a slow disk.
const BUFFER: usize = 1 << 20;
/// Buffers that are read, hashed, or on their way from one to the other.
const BUFFERS: usize = 4;
/// A file below this is hashed sooner than a second thread starts, bytes.
const SHORT: u64 = 4 << 20;

/// What is done with the pages that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pages {
    /// They stay for who comes next.
    Keep,
    /// Those that nobody had in memory before are given back.
    Return,
}

/// What hashing a file came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Hashed {
    Done(Digests),
    /// `go_on` said no.
    Stopped,
}

/// Hashes `length` bytes. `go_on` is told how many are done, now and then, and says whether to go on.
pub(crate) fn hash(
    file: &File,
    (length, data_start): (u64, Option<u64>),
    pages: Pages,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> io::Result<Hashed> {
    let advice = if pages == Pages::Keep { Advice::Sequential } else { Advice::Random };
    rustix::fs::fadvise(file, 0, None, advice).ok(); // it is only advice
    let tensors = data_start.map(|start| start.min(length)..length);
    let second = tensors.clone().filter(|span| span.end - span.start >= SHORT);
    thread::scope(|scope| {
        let (free, buffers) = channel();
        for _ in 0..BUFFERS {
            drop(free.send(Arc::new(vec![0; BUFFER]))); // its receiver is below
        }
        let (filled, taken) = channel();
        let (free, helper) = match second {
            Some(_) => {
                let hashing = move || hash_parts(&taken, &free);
                (None, Some(thread::Builder::new().name("hash".into()).spawn_scoped(scope, hashing)?))
            }
            None => (Some(free), None),
        };
        let mut pass = Pass {
            whole: Sha256::new(),
            autov1: Sha256::new(),
            tensors: tensors.map(|span| (span, Sha256::new())),
            filled: helper.is_some().then_some(filled),
            free,
        };
        let is_done = pass.run(file, length, (pages, &buffers), go_on)?;
        let Pass { whole, autov1, tensors, filled, .. } = pass;
        drop(filled); // the helper ends with what it has
        let tensors = match helper {
            Some(helper) => Some(helper.join().map_err(|_| io::Error::other("hashing failed"))?),
            None => tensors.map(|(_, hash)| hash),
        };
        Ok(match is_done {
            false => Hashed::Stopped,
            true => Hashed::Done(Digests {
                whole: whole.finalize().into(),
                tensors: tensors.map(|hash| hash.finalize().into()),
                autov1: autov1.finalize().into(),
            }),
        })
    })
}

type Buffer = Arc<Vec<u8>>;
type Part = (Buffer, Range<usize>);

/// One pass over a file.
struct Pass {
    whole: Sha256,
    autov1: Sha256,
    tensors: Option<(Range<u64>, Sha256)>,
    /// Where a second thread hashes the tensors: as much work as all the rest.
    filled: Option<Sender<Part>>,
    /// Where nobody else gives a buffer back.
    free: Option<Sender<Buffer>>,
}

impl Pass {
    fn run(
        &mut self,
        file: &File,
        length: u64,
        (pages, buffers): (Pages, &Receiver<Buffer>),
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> io::Result<bool> {
        let mut at = 0;
        while at < length {
            if !go_on(at) {
                return Ok(false);
            }
            let mut buffer = buffers.recv().map_err(io::Error::other)?;
            // It has come back from everybody.
            let bytes = Arc::get_mut(&mut buffer).ok_or_else(|| io::Error::other("a buffer is in use"))?;
            let wanted = usize::try_from(length - at).unwrap_or(usize::MAX).min(bytes.len());
            let bytes = bytes.get_mut(..wanted).unwrap_or_default();
            let got = match pages {
                Pages::Keep => file.read_at(bytes, at)?,
                Pages::Return => read_and_return(file, bytes, at)?,
            };
            if got == 0 {
                return Err(ErrorKind::UnexpectedEof.into()); // it was cut meanwhile
            }
            self.take(buffer, at, got);
            at += got as u64;
        }
        Ok(go_on(at))
    }

    fn take(&mut self, buffer: Buffer, at: u64, got: usize) {
        if let (Some(filled), Some((span, _))) = (&self.filled, &self.tensors) {
            // A helper that failed is told at its join.
            drop(filled.send((Arc::clone(&buffer), inside(span, at, got))));
        }
        self.whole.update(buffer.get(..got).unwrap_or_default());
        self.autov1.update(buffer.get(inside(&AUTOV1, at, got)).unwrap_or_default());
        let Some(free) = &self.free else { return };
        if let Some((span, hash)) = &mut self.tensors {
            hash.update(buffer.get(inside(span, at, got)).unwrap_or_default());
        }
        drop(free.send(buffer)); // its receiver is who reads
    }
}

/// Which bytes of a buffer that was read at `at` lie in a span of the file.
fn inside(span: &Range<u64>, at: u64, got: usize) -> Range<usize> {
    let place = |offset: u64| usize::try_from(offset.saturating_sub(at)).unwrap_or(usize::MAX).min(got);
    place(span.start)..place(span.end)
}

fn hash_parts(taken: &Receiver<Part>, free: &Sender<Buffer>) -> Sha256 {
    let mut hash = Sha256::new();
    for (buffer, part) in taken {
        hash.update(buffer.get(part).unwrap_or_default());
        drop(free.send(buffer)); // the other side may have failed
    }
    hash
}

/// Reads; pages that were not in memory before are given back at once.
fn read_and_return(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let cached =
        rustix::io::preadv2(file, &mut [IoSliceMut::new(bytes)], at, rustix::io::ReadWriteFlags::NOWAIT);
    let had = cached.unwrap_or(0); // not in memory, or a filesystem that cannot tell
    if had == bytes.len() {
        return Ok(had);
    }
    let rest = bytes.get_mut(had..).unwrap_or_default();
    let start = at + had as u64;
    let got = file.read_at(rest, start)?;
    if let (Some(length), true) = (NonZeroU64::new(got as u64), cached.is_ok() || is_absent(cached)) {
        rustix::fs::fadvise(file, start, Some(length), Advice::DontNeed).ok(); // it is only advice
    }
    Ok(had + got)
}

fn is_absent(cached: rustix::io::Result<usize>) -> bool {
    cached == Err(rustix::io::Errno::AGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Of `printf %s … | sha256sum`, and of the same bytes from 8 on.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn hex(digest: [u8; 32]) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[track_caller]
    fn digests(bytes: &[u8], data_start: Option<u64>, pages: Pages) -> Digests {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m");
        fs::write(&path, bytes).unwrap();
        let file = File::open(path).unwrap();
        match hash(&file, (bytes.len() as u64, data_start), pages, &mut |_| true).unwrap() {
            Hashed::Done(digests) => digests,
            Hashed::Stopped => panic!("it stopped"),
        }
    }

    #[test]
    fn a_short_file_is_hashed_as_sha256sum_does() {
        let found = digests(b"headerXXabc", Some(8), Pages::Keep);
        assert_eq!(hex(found.tensors.unwrap()), ABC);
        assert_eq!(hex(digests(b"abc", None, Pages::Keep).whole), ABC);
        assert!(hex(found.autov1).starts_with("e3b0c442"), "nothing lies at 1 MiB");
    }

    #[test]
    fn a_long_file_is_hashed_alike_by_one_thread_and_by_two_wherever_its_data_starts() {
        let bytes: Vec<u8> = (0..(9_u32 << 20) + 77).map(|n| (n * 31 % 251) as u8).collect();
        let plain = |range: Range<usize>| -> [u8; 32] { Sha256::digest(&bytes[range]).into() };
        for start in [0, 1, 9, (1 << 20) - 1, 1 << 20, (6 << 20) + 5, bytes.len()] {
            for pages in [Pages::Keep, Pages::Return] {
                let found = digests(&bytes, Some(start as u64), pages);
                assert_eq!(found.whole, plain(0..bytes.len()));
                assert_eq!(found.tensors, Some(plain(start..bytes.len())), "data at {start}");
                assert_eq!(found.autov1, plain(0x10_0000..0x11_0000));
            }
        }
    }

    #[test]
    fn a_file_that_is_cut_meanwhile_has_no_hash_and_one_that_is_not_wanted_stops() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m");
        fs::write(&path, vec![1; 6 << 20]).unwrap();
        let file = File::open(&path).unwrap();
        let cut = hash(&file, (7 << 20, Some(100)), Pages::Keep, &mut |_| true);
        assert_eq!(cut.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        let stopped = hash(&file, (6 << 20, Some(100)), Pages::Keep, &mut |done| done < 2 << 20);
        assert_eq!(stopped.unwrap(), Hashed::Stopped);
    }
}
