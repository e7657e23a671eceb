//! The architecture that a GGUF file names in its first bytes.
//!
//! The file begins with `GGUF`, a version (u32), the number of tensors and the number of entries (u64 each, in version 1
//! u32); an entry is its name, the type of its value (u32) and the value; a text is its length (u64, in version 1 u32)
//! and its bytes. All numbers are little-endian.

/// Where writers put `general.architecture`: first, or behind a few short entries.
pub(super) const HEAD_BYTES: u64 = 16 << 10;
const MOST_ENTRIES: u64 = 64;
const STRING: u32 = 8;

/// `None` where the bytes are no GGUF file, or do not reach far enough.
pub(super) fn architecture(head: &[u8]) -> Option<String> {
    let mut head = Head { rest: head.strip_prefix(b"GGUF")?, wide: true };
    head.wide = head.u32()? > 1;
    head.count()?;
    let entries = head.count()?;
    for _ in 0..entries.min(MOST_ENTRIES) {
        let name = head.text()?;
        let kind = head.u32()?;
        if name == b"general.architecture" && kind == STRING {
            let text = String::from_utf8(head.text()?.to_vec()).ok()?;
            return Some(text).filter(|text| text.len() <= 64 && text.chars().all(|c| c.is_ascii_graphic()));
        }
        match kind {
            STRING => {
                head.text()?;
            }
            // Of 1, 2, 4 and 8 bytes; arrays come later in all known files.
            0 | 1 | 7 => head.skip(1)?,
            2 | 3 => head.skip(2)?,
            4..=6 => head.skip(4)?,
            10..=12 => head.skip(8)?,
            _ => return None,
        }
    }
    None
}

struct Head<'a> {
    rest: &'a [u8],
    /// True where counts have 64 bits.
    wide: bool,
}

impl<'a> Head<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.take(bytes).map(|_| ())
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn count(&mut self) -> Option<u64> {
        if !self.wide {
            return self.u32().map(u64::from);
        }
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.count()?;
        self.take(usize::try_from(length).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, kind: u32, value: &[u8]) -> Vec<u8> {
        let mut bytes = (name.len() as u64).to_le_bytes().to_vec();
        bytes.extend(name.as_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(value);
        bytes
    }

    fn file(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(7_u64.to_le_bytes());
        bytes.extend((entries.len() as u64).to_le_bytes());
        bytes.extend(entries.concat());
        bytes
    }

    #[test]
    fn the_architecture_is_found_behind_other_entries() {
        let name = [&5_u64.to_le_bytes()[..], b"llama"].concat();
        let bytes = file(&[entry("general.quantized_by", 7, &[1]), entry("general.architecture", STRING, &name)]);
        assert_eq!(architecture(&bytes).as_deref(), Some("llama"));
        for cut in 0..bytes.len() {
            assert_eq!(architecture(&bytes[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn hostile_bytes_have_none() {
        assert_eq!(architecture(b"<html>"), None);
        let endless = file(&[entry("general.architecture", STRING, &u64::MAX.to_le_bytes())]);
        assert_eq!(architecture(&endless), None);
        assert_eq!(architecture(&file(&[entry("tokens", 9, &[0; 64])])), None);
    }
}
