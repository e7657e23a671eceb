//! UTF-8 seen as code page 850 and then stored in Windows-1252, which has none of the box-drawing characters and puts
//! ASCII in their place: `├` (the byte C3) becomes `+`, `┬` (C2) becomes `-`, `┤` becomes `¦`, `╝` becomes `+`.
//! Source of what becomes what: <https://www.unicode.org/Public/MAPPINGS/VENDORS/MICSFT/WindowsBestFit/bestfit1252.txt>.
//!
//! Plus and minus signs are common, so the neighbours decide: what decodes to a letter must stand in a word, and be a
//! capital only where a capital can be.

use super::pages::Page;

/// The text with what was flattened; `None`: nothing was.
pub fn repaired(text: &str) -> Option<String> {
    let mut repaired = String::new();
    let mut copied = 0;
    let mut place = 0;
    while let Some(offset) = text[place..].find(['+', '-']) {
        place += offset;
        let before = Before::new(&repaired, &text[copied..place]);
        let Some(piece) = piece_at(&text[place..], before) else {
            place += 1;
            continue;
        };
        repaired.push_str(&text[copied..place]);
        repaired.push_str(piece.right);
        repaired.extend(piece.letter);
        place += piece.bytes;
        copied = place;
    }
    if copied == 0 {
        return None;
    }
    repaired.push_str(&text[copied..]);
    Some(repaired)
}

/// What stood there at first, and the bytes that stand there now.
struct Piece {
    right: &'static str,
    letter: Option<char>,
    bytes: usize,
}

/// The two characters before a place.
#[derive(Clone, Copy)]
struct Before {
    last: Option<char>,
    last_but_one: Option<char>,
}

impl Before {
    fn new(repaired: &str, since: &str) -> Self {
        let mut characters = since.chars().rev().chain(repaired.chars().rev());
        Self { last: characters.next(), last_but_one: characters.next() }
    }

    fn is(self, what: impl Fn(char) -> bool) -> bool {
        self.last.is_some_and(what)
    }

    /// Nothing, or a space.
    fn is_gap(self) -> bool {
        self.last.is_none_or(char::is_whitespace)
    }

    /// A digit, or a digit and a space.
    fn is_number(self) -> bool {
        let is_digit = |character: char| character.is_ascii_digit();
        self.is(is_digit) || self.is(|last| last == ' ') && self.last_but_one.is_some_and(is_digit)
    }
}

fn piece_at(rest: &str, before: Before) -> Option<Piece> {
    let sign = rest.chars().next()?;
    let second = rest[1..].chars().next()?;
    if second.is_ascii() && second != '+' {
        return None;
    }
    let bytes = 1 + second.len_utf8();
    let after = &rest[bytes..];
    if sign == '+' {
        return letter_of(second, before, after)
            .map(|letter| Piece { right: "", letter: Some(letter), bytes })
            .or_else(|| remains_of_quote(second, before, after));
    }
    sign_of(second, before, after).map(|right| Piece { right, letter: None, bytes })
}

/// What the last two bytes of ’ were spelt out as: the signs € and ™.
const TRADE_MARK: &str = "EUR TM";

/// `+` and a character: the letter from U+00C0 to U+00FF that they were.
fn letter_of(second: char, before: Before, after: &str) -> Option<char> {
    let next = after.chars().next();
    let is_small = |character: char| character.is_ascii_lowercase();
    if second == '+' {
        // ü; û and ÿ look the same and are far rarer. Compilers and grades look the same, too.
        let is_in_word = after.chars().take(2).filter(|next| is_small(*next)).count() == 2;
        let is_name = before.is(|last| last.is_alphabetic() && !matches!(last, 'c' | 'C'));
        return (is_in_word && is_name).then_some('ü');
    }
    let letter = match second {
        // ö under the American code page 437; ð, ñ, ò, ó, ô, õ, ù and ú look the same.
        '¦' => 'ö',
        _ => {
            let byte = Page::Ibm850.byte(second).filter(|byte| (0x80..=0xbf).contains(byte))?;
            char::from(byte + 0x40)
        }
    };
    if !letter.is_alphabetic() {
        return None;
    }
    let has_more = after.strip_prefix('+').is_some_and(|more| more.starts_with(|next: char| !next.is_ascii()));
    let goes_on = has_more || next.is_some_and(char::is_alphabetic);
    // "Canal+®" and "A+£" are right.
    if !second.is_alphabetic() && !goes_on || second == '£' && !next.is_some_and(is_small) {
        return None;
    }
    let fits = if letter.is_uppercase() {
        // "B+ç" is a grade and a letter; the word in capitals goes on, or has at least two before.
        let is_in_capitals = goes_on || before.last_but_one.is_some_and(char::is_uppercase);
        before.is(char::is_uppercase) && is_in_capitals || !before.is(char::is_alphanumeric) && goes_on
    } else {
        // A circumflexed a that ends a word is the first byte of a quote or a dash.
        let is_remains = letter == 'â' && (!goes_on || after.starts_with(TRADE_MARK));
        !is_remains && (before.is(char::is_alphabetic) || before.is_gap() && next.is_some_and(is_small))
    };
    fits.then_some(letter)
}

/// `+ó` and `+é` where the rest of a dash, a quote or a euro sign was lost or spelt out on the way.
fn remains_of_quote(second: char, before: Before, after: &str) -> Option<Piece> {
    let piece = |right, more: usize| Some(Piece { right, letter: None, bytes: 1 + second.len_utf8() + more });
    let trimmed = after.trim_start_matches(' ');
    let spaces = after.len() - trimmed.len();
    match second {
        'ó' => {
            // ‚ has the number 201A, ¬ is what code page 850 has for the last byte of €.
            let euro = "x201a -¼";
            if trimmed.starts_with(euro) {
                return piece("€", spaces + euro.len());
            }
            if after.starts_with(TRADE_MARK) {
                return piece("’", TRADE_MARK.len());
            }
            if after.starts_with(char::is_alphanumeric) {
                return None;
            }
            match before.last {
                Some(' ') if spaces > 0 => piece("–", 0),
                Some(last) if last.is_alphanumeric() => piece(if trimmed.starts_with("s ") { "’" } else { "" }, 0),
                _ => None,
            }
        }
        'é' if before.is_gap() && spaces > 0 && trimmed.starts_with(|next: char| next.is_ascii_digit()) => {
            piece("", spaces)
        }
        _ => None,
    }
}

/// `-` and a character: the sign from U+00A0 to U+00BF that they were.
fn sign_of(second: char, before: Before, after: &str) -> Option<&'static str> {
    let next = after.chars().next();
    let is_digit = |character: char| character.is_ascii_digit();
    let ends = next.is_none_or(char::is_whitespace);
    match second {
        '®' if before.is_gap() && (ends || next.is_some_and(is_digit)) => Some("©"),
        // Right text has "-«" before a quotation, which ends somewhere.
        '«' if ends && !after.contains('»') && before.is(|last| last.is_alphabetic() || last == ' ') => Some("®"),
        '¦' if before.is_number() => Some("°"),
        '¦' => Some("´"),
        'á' if before.is(is_digit) && next.is_some_and(is_digit) => Some(" "),
        'Á' if before.is_number() && next.is_some_and(char::is_lowercase) => Some("µ"),
        'ú' if !before.is(char::is_alphanumeric) && next.is_some_and(is_digit) => Some("£"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::doctor::mojibake::repaired;

    #[test]
    fn what_was_flattened_comes_back() {
        for (spoilt, right) in [
            ("according to L+ñnnen Tehtaat", "according to Lännen Tehtaat"),
            ("Bank of +àland , +àm+Ñl", "Bank of Åland , Åmål"),
            ("erh+ñlt die M+Âglichkeit", "erhält die Möglichkeit"),
            ("said +£lo P+ñrnits of +£lemiste", "said Ülo Pärnits of Ülemiste"),
            ("TYRV+ä+äN SANOMAT , the +ä+ñnekoski mill", "TYRVÄÄN SANOMAT , the Äänekoski mill"),
            ("T+®l+®com in P+®cs", "Télécom in Pécs"),
            ("Paran+í , Brand+úo , Tel+¬maco", "Paraná , Brandão , Telêmaco"),
            ("Walter G++nter , K+¦ln", "Walter Günter , Köln"),
            ("the Group -¦ s sales , 20 -¦C", "the Group ´ s sales , 20 °C"),
            ("NEWS - -® 1995-2006", "NEWS - © 1995-2006"),
            ("Learning -« Magazine", "Learning ® Magazine"),
            ("+1 617-á801-á6888 , 1200 -Ál", "+1 617 801 6888 , 1200 µl"),
            ("a loss of +ó  x201a -¼ 5", "a loss of € 5"),
            ("the company+óEUR TM s core", "the company’ s core"),
            ("Bank+ó s , in Asia +ó Pakistan , this year+ó ??", "Bank’ s , in Asia – Pakistan , this year ??"),
            ("half to +é 5.5 million", "half to 5.5 million"),
        ] {
            assert_eq!(repaired(spoilt).as_deref().unwrap_or(spoilt), right);
        }
    }

    #[test]
    fn signs_that_are_right_stay() {
        for right in [
            "rated A+£ then",
            "Canal+® and Disney+®",
            "C++builder",
            "5+é",
            "hommes+écoles",
            "jeunes+âgés",
            "B+ç",
            "dit-il -« oui » -à table",
            "franco-árabe",
            "peut-être",
            "-ö- +ö+",
            "1-½ cups",
            "+½ +¼ -¼",
            "a+b-c++",
        ] {
            assert_eq!(repaired(right), None);
        }
    }
}
