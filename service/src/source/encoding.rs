//! The encoding of a file's text: found in its bytes, or as a person names it.

use super::container::{Container, Stream};
use crate::error::Result;
use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use domain::error::UserError;
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

const PIECE_BYTES: usize = 256 * 1024;

/// The encoding that a person has named, such as `UTF-8`, `windows-1254` or `latin1`.
pub fn named(name: &str) -> Result<&'static Encoding> {
    let encoding = Encoding::for_label(name.trim().as_bytes());
    encoding.ok_or_else(|| {
        let name: String = name.chars().take(40).collect();
        UserError::invalid(format!(
            "There is no encoding called \"{name}\". Usual ones are UTF-8, UTF-16LE, windows-1252 and windows-1254."
        ))
        .into()
    })
}

/// The encoding: the byte-order mark's, or UTF-16 where every other byte is zero, or UTF-8 where the file is that but
/// for a few rows, or the one that its letters speak for.
///
/// The whole file is looked at, as the first letter beyond ASCII may stand anywhere; what is valid UTF-8 is passed over
/// as fast as it is unpacked.
pub fn detect(container: &Container, beginning: &[u8]) -> Result<&'static Encoding> {
    if let Some((encoding, _)) = Encoding::for_bom(beginning) {
        return Ok(encoding);
    }
    if let Some(encoding) = utf_16_without_mark(beginning) {
        return Ok(encoding);
    }
    if is_utf_8(&mut container.stream()?)? {
        return Ok(UTF_8);
    }
    by_letters(&mut container.stream()?)
}

/// ASCII letters in UTF-16 have a zero byte each, always before or always after the letter.
pub fn utf_16_without_mark(beginning: &[u8]) -> Option<&'static Encoding> {
    let pairs = beginning.len() / 2;
    let (even, odd) = beginning
        .chunks_exact(2)
        .fold((0, 0), |(even, odd), pair| (even + usize::from(pair[0] == 0), odd + usize::from(pair[1] == 0)));
    match () {
        () if odd * 3 > pairs && even * 20 < odd => Some(UTF_16LE),
        () if even * 3 > pairs && odd * 20 < even => Some(UTF_16BE),
        () => None,
    }
}

fn is_utf_8(stream: &mut Stream) -> Result<bool> {
    let mut bytes = vec![0; PIECE_BYTES];
    let mut held = 0;
    loop {
        let read = stream.next_piece(&mut bytes[held..])?;
        let length = held + read;
        match std::str::from_utf8(&bytes[..length]) {
            Ok(_) => held = 0,
            // A character cut by the edge of the piece.
            Err(error) if error.error_len().is_none() && read > 0 => {
                bytes.copy_within(error.valid_up_to()..length, 0);
                held = length - error.valid_up_to();
            }
            Err(_) => return Ok(false),
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

/// Of a file that is not UTF-8 throughout.
fn by_letters(stream: &mut Stream) -> Result<&'static Encoding> {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    let mut odd_lines = OddLines::default();
    let (mut valid, mut invalid) = (0_u64, 0_u64);
    let mut bytes = Vec::new();
    loop {
        let held = bytes.len();
        bytes.resize(held + PIECE_BYTES, 0);
        let read = stream.next_piece(&mut bytes[held..])?;
        bytes.truncate(held + read);
        detector.feed(&bytes[held..], read == 0);
        let rest = count_utf8(&bytes, read == 0, &mut valid, &mut invalid);
        odd_lines.collect(&bytes[held..]);
        if read == 0 {
            break;
        }
        bytes.drain(..rest);
    }
    // Letters beyond ASCII that are right as UTF-8 are so by design, never by chance.
    if invalid == 0 || valid > invalid {
        return Ok(UTF_8);
    }
    let guess = detector.guess(None, Utf8Detection::Deny);
    // A file of plain ASCII with a few broken bytes gets some guess, too. It is taken only if it makes sense of them;
    // else these rows are to be shown as what they are.
    Ok(if odd_lines.make_sense_in(guess) { guess } else { UTF_8 })
}

/// Counts characters beyond ASCII that are right as UTF-8 and bytes that are not; returns where an unfinished
/// character begins.
fn count_utf8(bytes: &[u8], is_end: bool, valid: &mut u64, invalid: &mut u64) -> usize {
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        *valid += chunk.valid().chars().filter(|letter| !letter.is_ascii()).count() as u64;
        at += chunk.valid().len();
        let broken = chunk.invalid();
        if broken.is_empty() {
            continue;
        }
        let is_unfinished = at + broken.len() == bytes.len()
            && std::str::from_utf8(broken).is_err_and(|error| error.error_len().is_none());
        if is_unfinished && !is_end {
            return at;
        }
        *invalid += 1;
        at += broken.len();
    }
    at
}

/// The first lines that hold bytes beyond ASCII.
#[derive(Default)]
struct OddLines {
    lines: Vec<Vec<u8>>,
}

impl OddLines {
    fn collect(&mut self, bytes: &[u8]) {
        let room = 200_usize.saturating_sub(self.lines.len());
        if room == 0 {
            return;
        }
        let odd = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_ascii());
        self.lines.extend(odd.take(room).map(|line| line[..line.len().min(4096)].to_vec()));
    }

    fn make_sense_in(&self, encoding: &'static Encoding) -> bool {
        let sensible = self.lines.iter().filter(|line| {
            let (text, had_errors) = encoding.decode_without_bom_handling(line);
            !had_errors && is_plausible(&text)
        });
        sensible.count() * 2 > self.lines.len()
    }
}

/// Letters beyond ASCII stand in words, marks beyond ASCII are those that people type, and the Latin letters that
/// broken bytes turn into do not begin a word.
fn is_plausible(text: &str) -> bool {
    let letters: Vec<char> = text.chars().collect();
    letters.iter().enumerate().all(|(at, letter)| {
        if letter.is_ascii() {
            return !letter.is_control() || letter.is_whitespace();
        }
        if !letter.is_alphabetic() {
            return !letter.is_control() && *letter != '\u{FFFD}';
        }
        let before = at.checked_sub(1).map(|before| letters[before]);
        let after = letters.get(at + 1);
        match letter {
            // The bytes FF and FE, read as western European: at the end of a French name, at the beginning of an
            // Icelandic word, hardly elsewhere.
            'ÿ' | 'Ÿ' => before.is_some_and(|before| before.is_ascii_alphabetic()),
            'þ' | 'Þ' => after.is_some_and(|after| after.is_alphabetic()),
            _ => before.is_some_and(char::is_alphabetic) || after.is_some_and(|after| after.is_alphabetic()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn detected(bytes: &[u8]) -> &'static str {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let container = Container::open(file.path(), None).unwrap();
        let beginning = container.stream().unwrap().beginning(64 * 1024).unwrap();
        detect(&container, &beginning).unwrap().name()
    }

    #[test]
    fn the_encoding_is_found_and_broken_bytes_are_none() {
        let late = [b"text,label\n".to_vec(), b"plain,a\n".repeat(60_000), "café,b\n".as_bytes().to_vec()].concat();
        let late_latin = [b"text,label\n".to_vec(), b"plain,a\n".repeat(60_000), b"caf\xe9,b\n".to_vec()].concat();
        let russian = encoding_rs::WINDOWS_1251.encode("текст,метка\nприбыль компании выросла,да\n").0.into_owned();
        let turkish = "metin,etiket\nşirketin kârı geçen yıl düştü,olumsuz\nyeni ürün çok beğenildi,olumlu\n".repeat(3);
        let turkish = encoding_rs::WINDOWS_1254.encode(&turkish).0.into_owned();
        let some_broken = ["naïve über café,a\n".repeat(3).into_bytes(), b"bro\xffken,b\n".to_vec()].concat();
        let utf_16 = |to_bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            "text,label\nçay güzel,a\n".encode_utf16().flat_map(to_bytes).collect()
        };
        // A letter on the edge of two pieces.
        let cut = [&vec![b'x'; PIECE_BYTES - 1][..], "é,b\n".as_bytes()].concat();
        for (bytes, name) in [
            (b"text,label\nplain,a\n".to_vec(), "UTF-8"),
            (late, "UTF-8"),
            (cut, "UTF-8"),
            (late_latin, "windows-1252"),
            (b"text,label\nna\xefve \x93quoted\x94 \x96 caf\xe9,a\n".to_vec(), "windows-1252"),
            (russian, "windows-1251"),
            (turkish, "windows-1254"),
            (b"\xef\xbb\xbftext,label\n".to_vec(), "UTF-8"),
            (b"\xff\xfet\0,\0l\0\n\0".to_vec(), "UTF-16LE"),
            (utf_16(u16::to_le_bytes), "UTF-16LE"),
            (utf_16(u16::to_be_bytes), "UTF-16BE"),
            (some_broken, "UTF-8"),
            (b"text,label\nplain,a\n\xff\xfe broken,b\n".to_vec(), "UTF-8"),
            (b"text,label\nplain,a\nbroken \xff\xfe\xfd,b\n".to_vec(), "UTF-8"),
            (b"text,label\nplain,a\nbroken \xc3\x28,b\n".to_vec(), "UTF-8"),
            (b"text,label\nplain,a\n\x80\x81\x82 \xfe\xff,b\n".to_vec(), "UTF-8"),
        ] {
            assert_eq!(
                detected(&bytes),
                name,
                "{:?}",
                String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(60)..])
            );
        }
    }

    #[test]
    fn an_encoding_is_called_by_any_of_its_names() {
        for (name, known) in [("latin1", "windows-1252"), (" UTF8 ", "UTF-8"), ("iso-8859-9", "windows-1254")] {
            assert_eq!(named(name).unwrap().name(), known);
        }
        assert!(named("klingon").unwrap_err().to_string().contains("klingon"));
    }
}
