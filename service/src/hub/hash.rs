//! The two hashes by which the Hub knows a file's content.

use super::listing::ContentHash;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::io::{self, Read};

const CHUNK_BYTES: usize = 1 << 20;

/// Both hashes of a file, in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hashes {
    pub sha256: String,
    /// Of a blob as git stores it: of `blob <length>\0` and the content.
    pub git_blob: String,
}

/// Reads to the end, or until `is_stopped`: then there is no hash. `bytes` is the length.
pub(super) fn hashes_of(
    reader: &mut dyn Read,
    bytes: u64,
    is_stopped: &dyn Fn() -> bool,
) -> io::Result<Option<Hashes>> {
    let mut sha256 = Sha256::new();
    let mut git_blob = git_blob(bytes);
    let read = read_all(reader, is_stopped, &mut |chunk| {
        sha256.update(chunk);
        git_blob.update(chunk);
    })?;
    Ok(read.then(|| Hashes { sha256: hexadecimal(&sha256.finalize()), git_blob: hexadecimal(&git_blob.finalize()) }))
}

/// As [`hashes_of`], the one of the two that `expected` is.
pub(super) fn hash_like(
    expected: &ContentHash,
    reader: &mut dyn Read,
    bytes: u64,
    is_stopped: &dyn Fn() -> bool,
) -> io::Result<Option<ContentHash>> {
    match expected {
        ContentHash::Sha256(_) => {
            let mut hash = Sha256::new();
            let read = read_all(reader, is_stopped, &mut |chunk| hash.update(chunk))?;
            Ok(read.then(|| ContentHash::Sha256(hexadecimal(&hash.finalize()))))
        }
        ContentHash::GitBlob(_) => {
            let mut hash = git_blob(bytes);
            let read = read_all(reader, is_stopped, &mut |chunk| hash.update(chunk))?;
            Ok(read.then(|| ContentHash::GitBlob(hexadecimal(&hash.finalize()))))
        }
    }
}

fn git_blob(bytes: u64) -> Sha1 {
    Sha1::new_with_prefix(format!("blob {bytes}\0"))
}

fn read_all(reader: &mut dyn Read, is_stopped: &dyn Fn() -> bool, take: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        if is_stopped() {
            return Ok(false);
        }
        match reader.read(&mut chunk) {
            Ok(0) => return Ok(true),
            Ok(read) => take(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `sha256sum` and `git hash-object` print them.
    #[test]
    fn the_hashes_are_those_of_sha256sum_and_git() {
        let hashes = hashes_of(&mut &b"hello\n"[..], 6, &|| false).unwrap().unwrap();
        assert_eq!(hashes.sha256, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
        assert_eq!(hashes.git_blob, "ce013625030ba8dba906f756967f9e9ca394464a");
        for expected in [ContentHash::Sha256(hashes.sha256), ContentHash::GitBlob(hashes.git_blob)] {
            assert_eq!(hash_like(&expected, &mut &b"hello\n"[..], 6, &|| false).unwrap().as_ref(), Some(&expected));
            assert_eq!(hash_like(&expected, &mut &b"hello\n"[..], 6, &|| true).unwrap(), None);
        }
    }
}
