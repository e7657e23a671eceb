//! E-mail addresses, phone numbers and IBANs in texts, found by hand-written scanners: each looks at a character once or
//! a bounded number of times.

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Personal {
    Email,
    Phone,
    Iban,
}

impl Personal {
    pub const ALL: [Self; 3] = [Self::Email, Self::Phone, Self::Iban];

    fn mask(self) -> &'static str {
        match self {
            Self::Email => "[email]",
            Self::Phone => "[phone]",
            Self::Iban => "[iban]",
        }
    }

    pub fn plural(self) -> &'static str {
        match self {
            Self::Email => "e-mail addresses",
            Self::Phone => "phone numbers",
            Self::Iban => "bank account numbers (IBAN)",
        }
    }
}

/// The text with each of them masked; `None`: it has none.
pub(super) fn masked(text: &str) -> Option<String> {
    let mut masked = String::new();
    let mut copied = 0;
    each(text, |kind, begin, end| {
        masked.push_str(&text[copied..begin]);
        masked.push_str(kind.mask());
        copied = end;
    });
    if copied == 0 {
        return None;
    }
    masked.push_str(&text[copied..]);
    Some(masked)
}

/// Hears of each, from left to right, with where it begins and ends. They do not overlap.
pub(super) fn each(text: &str, mut hear: impl FnMut(Personal, usize, usize)) {
    let bytes = text.as_bytes();
    // Most texts have neither a digit nor an @.
    if !bytes.iter().any(|byte| *byte == b'@' || byte.is_ascii_digit()) {
        return;
    }
    let mut place = 0;
    // What stands before it has been given out or looked at.
    let mut free = 0;
    while let Some(byte) = bytes.get(place) {
        let is_word_begin = place == free || !is_word(bytes[place - 1]);
        let found = match byte {
            b'@' => email(bytes, free, place).map(|(begin, end)| (Personal::Email, begin, end)),
            b'A'..=b'Z' if is_word_begin => iban(bytes, place).map(|end| (Personal::Iban, place, end)),
            b'+' | b'(' | b'0'..=b'9' if is_word_begin => phone(bytes, place).map(|end| (Personal::Phone, place, end)),
            _ => None,
        };
        match found {
            Some((kind, begin, end)) => {
                hear(kind, begin, end);
                place = end;
                free = end;
            }
            None => place += 1,
        }
    }
}

/// Letters and digits; bytes beyond ASCII belong to letters.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// Longest part before the @, and longest domain (RFC 5321, 4.5.3.1).
const MAX_LOCAL: usize = 64;
const MAX_DOMAIN: usize = 255;

fn email(bytes: &[u8], free: usize, at: usize) -> Option<(usize, usize)> {
    let is_local = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-');
    let before = &bytes[free.max(at.saturating_sub(MAX_LOCAL))..at];
    let local = before.iter().rev().take_while(|byte| is_local(byte)).count();
    // Dots and dashes before it are punctuation.
    let name = &before[before.len() - local..];
    let local = local - name.iter().take_while(|byte| !byte.is_ascii_alphanumeric()).count();
    if local == 0 || !bytes[at - 1].is_ascii_alphanumeric() {
        return None;
    }
    let after = &bytes[at + 1..bytes.len().min(at + 1 + MAX_DOMAIN)];
    let length = after.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')).count();
    let mut domain = &after[..length];
    while let Some((_, head)) = domain.split_last().filter(|(last, _)| !last.is_ascii_alphanumeric()) {
        domain = head;
    }
    let mut labels = domain.split(|byte| *byte == b'.');
    let top = labels.next_back()?;
    let is_top = top.len() >= 2 && top.iter().all(u8::is_ascii_alphabetic);
    let has_domain = labels.clone().count() > 0 && labels.all(|label| !label.is_empty());
    (is_top && has_domain).then(|| (at - local, at + 1 + domain.len()))
}

/// Digits in groups as they stand, each at most 15, with what stands between them.
struct Digits {
    groups: Vec<usize>,
    /// One byte between groups; a bracket counts with the space beside it.
    separators: Vec<u8>,
    end: usize,
}

impl Digits {
    fn total(&self) -> usize {
        self.groups.iter().sum()
    }
}

/// Most digits of a number with its country's code (ITU-T E.164), and most groups that they are written in.
const MAX_DIGITS: usize = 15;
const MAX_GROUPS: usize = 8;

fn digits(bytes: &[u8], begin: usize) -> Option<Digits> {
    let mut digits = Digits { groups: Vec::new(), separators: Vec::new(), end: begin };
    let mut place = begin;
    loop {
        let group = bytes[place..].iter().take(MAX_DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
        if group == 0 || digits.total() + group > MAX_DIGITS || digits.groups.len() == MAX_GROUPS {
            break;
        }
        digits.groups.push(group);
        place += group;
        digits.end = place;
        let (separator, length) = match &bytes[place..] {
            [b')', b' ', ..] | [b' ', b'(', ..] => (b')', 2),
            // "+49 (0) 30"
            [b')' | b'(', ..] => (b')', 1),
            [byte @ (b' ' | b'-' | b'.' | b'/'), ..] => (*byte, 1),
            _ => break,
        };
        digits.separators.push(separator);
        place += length;
    }
    digits.separators.truncate(digits.groups.len().saturating_sub(1));
    // A number that goes on is no phone number, be it a decimal, an id or a word.
    let goes_on = match &bytes[digits.end..] {
        [byte, ..] if is_word(*byte) => true,
        [b'.' | b',' | b':' | b'-' | b'/', next, ..] => next.is_ascii_digit(),
        [b'%', ..] => true,
        _ => false,
    };
    (!digits.groups.is_empty() && !goes_on).then_some(digits)
}

/// The end of a phone number that begins here.
fn phone(bytes: &[u8], begin: usize) -> Option<usize> {
    let before = begin.checked_sub(1).map(|before| bytes[before]);
    // The middle of an amount, a date, a price, a version.
    if matches!(before, Some(b'.' | b',' | b'/' | b':' | b'-' | b'$' | b'#' | b'=' | b'+' | b'_')) {
        return None;
    }
    match &bytes[begin..] {
        [b'+', b'1'..=b'9', ..] => international(&digits(bytes, begin + 1)?),
        [b'0', b'0', b'1'..=b'9', ..] => international(&digits(bytes, begin)?),
        [b'(', b'0', ..] => national(&digits(bytes, begin + 1)?),
        [b'(', b'2'..=b'9', ..] => american(&digits(bytes, begin + 1)?, true),
        [b'0', b' ' | b'1'..=b'9', ..] => national(&digits(bytes, begin)?),
        [b'2'..=b'9', ..] => american(&digits(bytes, begin)?, false),
        _ => None,
    }
}

/// With the country's code: 8 to 15 digits. "+10 000 000" is an amount.
fn international(digits: &Digits) -> Option<usize> {
    let total = digits.total();
    let in_thousands = digits.groups.len() > 1
        && total < 11
        && digits.groups.iter().skip(1).all(|group| *group == 3)
        && digits.separators.iter().all(|separator| *separator == digits.separators[0])
        && matches!(digits.separators[0], b' ' | b'.');
    ((8..=MAX_DIGITS).contains(&total) && !in_thousands).then_some(digits.end)
}

/// With the leading zero of most countries: 9 to 12 digits in groups, not parted by dots, which amounts and dates are.
fn national(digits: &Digits) -> Option<usize> {
    let is_grouped = digits.groups.len() > 1
        && digits.groups[0] <= 5
        && digits.groups.iter().skip(1).all(|group| (2..=8).contains(group));
    let is_parted = digits.separators.iter().all(|separator| *separator != b'.');
    ((9..=12).contains(&digits.total()) && is_grouped && is_parted).then_some(digits.end)
}

/// North American: three, three and four digits, parted by dashes or dots, or the first three in brackets.
fn american(digits: &Digits, in_brackets: bool) -> Option<usize> {
    let is_parted = match digits.separators[..] {
        [b')', b'-' | b' ' | b'.'] => in_brackets,
        [first @ (b'-' | b'.'), second] => !in_brackets && first == second,
        _ => false,
    };
    (digits.groups == [3, 3, 4] && is_parted).then_some(digits.end)
}

/// Countries and the length of their account numbers. Source: SWIFT, IBAN Registry.
const IBANS: [(&[u8; 2], u8); 77] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NL", 18),
    (b"NO", 15),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"SA", 24),
    (b"SC", 31),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
];

/// The end of an IBAN that begins here: the country's length, single spaces between its characters, and a checksum
/// that fits.
fn iban(bytes: &[u8], begin: usize) -> Option<usize> {
    let country = bytes.get(begin..begin + 2)?;
    let (_, length) = IBANS.iter().find(|(known, _)| country == *known)?;
    let mut characters = Vec::with_capacity(usize::from(*length));
    let mut place = begin;
    while characters.len() < usize::from(*length) {
        match *bytes.get(place)? {
            byte @ (b'0'..=b'9' | b'A'..=b'Z') => characters.push(byte),
            b' ' if bytes[place - 1] != b' ' => {}
            _ => return None,
        }
        place += 1;
    }
    let ends = bytes.get(place).is_none_or(|byte| !is_word(*byte));
    (ends && remainder(&characters) == 1).then_some(place)
}

/// ISO 7064, MOD 97-10: the first four characters go to the end, letters count from 10.
fn remainder(characters: &[u8]) -> u32 {
    let (head, tail) = characters.split_at(4);
    tail.iter().chain(head).fold(0, |remainder, byte| match byte {
        b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
        letter => (remainder * 100 + u32::from(letter - b'A') + 10) % 97,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn personal_data_is_masked() {
        for (text, expected) in [
            ("Write to jane.doe+x@mail.example.co.uk.", "Write to [email]."),
            ("<a@b.de>,c_d@e-f.org", "<[email]>,[email]"),
            ("Tel. +358 7180 08000 or +1-617-801-6888", "Tel. [phone] or [phone]"),
            ("+49 (0)30 1234567, 0049 30 1234567", "[phone], [phone]"),
            ("call (617) 801-6888 or 617.801.6888 now", "call [phone] or [phone] now"),
            ("0532 123 45 67 / 0 532 123 45 67", "[phone] / [phone]"),
            ("05 10 15 20 25, 030/12345678, (030) 123 456", "[phone], [phone], [phone]"),
            ("to DE89 3704 0044 0532 0130 00 by Friday", "to [iban] by Friday"),
            ("GB82WEST12345698765432", "[iban]"),
            ("TR330006100519786457841326.", "[iban]."),
        ] {
            assert_eq!(masked(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn amounts_years_and_ids_are_not() {
        for text in [
            "EUR 1 250 000 000 in 2006-2007",
            "rose 0.5 to 10,000,000.00",
            "2008-01-02 03:04:05",
            "01-02-2008 and 01.02.2008",
            "+10 000 000 people",
            "+5.5 % and +12345",
            "order 123-45-6789",
            "ISBN 978-3-16-148410-0",
            "10.0.0.127",
            "192.168.100.1234",
            "DE89 3704 0044 0532 0130 01",
            "FI0642014101",
            "@handle and a@b and a@b.c1",
            "x @ y.com",
            "$GOOG @ 530.50",
            "12345678901234567890",
            "0x1234567890",
            "room 101 202 3030",
            "007 123",
        ] {
            assert_eq!(masked(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_found_twice(text in "([0-9+() @.A-Z-]|[a-z]{1,3}|DE89370400440532013000|é){0,40}") {
            if let Some(once) = masked(&text) {
                prop_assert_eq!(masked(&once), None, "{} became {}", text, once);
            }
        }
    }

    #[test]
    fn a_hostile_text_takes_no_long_time() {
        let started = std::time::Instant::now();
        for hostile in ["1 ", "+1", "@", "a@a.", "DE00 ", "(0", "12-", "aaaaaaaa"] {
            masked(&hostile.repeat(1_000_000));
        }
        assert!(started.elapsed().as_secs() < 20);
    }
}
