//! Code pages from characters back to bytes: what a program that took UTF-8 for something else saw in each byte.

/// An encoding that UTF-8 is mistaken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Windows' Western code page. Where it has no character, Latin-1's control characters are taken; and the Turkish
    /// page's letter for the first byte of an emoji is taken, too.
    Windows1252,
    /// The IBM code page of Western European consoles.
    Ibm850,
    /// The IBM code page of American consoles.
    Ibm437,
}

impl Page {
    pub const ALL: [Self; 3] = [Self::Windows1252, Self::Ibm850, Self::Ibm437];

    /// The byte, of those beyond ASCII, that the page shows as this character.
    pub fn byte(self, character: char) -> Option<u8> {
        if character.is_ascii() {
            return None;
        }
        let table = match self {
            Self::Windows1252 => match character {
                '\u{80}'..='\u{ff}' => return Some(character as u8),
                'ğ' => return Some(0xf0),
                _ => WINDOWS_1252,
            },
            Self::Ibm850 => IBM_850,
            Self::Ibm437 => IBM_437,
        };
        table.chars().position(|of_page| of_page == character).map(|place| 0x80 + place as u8)
    }

    /// The character begins a sequence of UTF-8 bytes under this page. Quick, since most characters do not.
    pub fn may_lead(self, character: char) -> bool {
        match self {
            Self::Windows1252 => matches!(character, '\u{c2}'..='\u{f4}' | 'ğ'),
            // The bytes C2 to C5, D0 and D1, E2, and F0.
            Self::Ibm850 => matches!(character, '┬' | '├' | '─' | '┼' | 'ð' | 'Ð' | 'Ô' | '\u{ad}'),
            Self::Ibm437 => matches!(character, '┬' | '├' | '─' | '┼' | '╨' | '╤' | 'Γ' | '≡'),
        }
    }
}

/// 0x80 to 0x9F; the five that the page leaves free hold Latin-1's control characters.
/// Source: <https://encoding.spec.whatwg.org/index-windows-1252.txt>.
const WINDOWS_1252: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";

/// 0x80 to 0xFF. Source: <https://www.unicode.org/Public/MAPPINGS/VENDORS/MICSFT/PC/CP850.TXT>.
const IBM_850: &str = concat!(
    "ÇüéâäàåçêëèïîìÄÅ",
    "ÉæÆôöòûùÿÖÜø£Ø×ƒ",
    "áíóúñÑªº¿®¬½¼¡«»",
    "░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐",
    "└┴┬├─┼ãÃ╚╔╩╦╠═╬¤",
    "ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀",
    "ÓßÔÒõÕµþÞÚÛÙýÝ¯´",
    "\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}",
);

/// 0x80 to 0xFF. Source: <https://www.unicode.org/Public/MAPPINGS/VENDORS/MICSFT/PC/CP437.TXT>.
const IBM_437: &str = concat!(
    "ÇüéâäàåçêëèïîìÄÅ",
    "ÉæÆôöòûùÿÖÜ¢£¥₧ƒ",
    "áíóúñÑªº¿⌐¬½¼¡«»",
    "░▒▓│┤╡╢╖╕╣║╗╝╜╛┐",
    "└┴┬├─┼╞╟╚╔╩╦╠═╬╧",
    "╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀",
    "αßΓπΣσµτΦΘΩδ∞φε∩",
    "≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}",
);

#[cfg(test)]
pub mod tests {
    use super::*;

    /// What the page shows of bytes.
    pub fn shown(page: Page, bytes: &[u8]) -> String {
        let table: Vec<char> = match page {
            Page::Windows1252 => WINDOWS_1252.chars().chain('\u{a0}'..='\u{ff}').collect(),
            Page::Ibm850 => IBM_850.chars().collect(),
            Page::Ibm437 => IBM_437.chars().collect(),
        };
        assert_eq!(table.len(), 128);
        let show = |byte: &u8| if byte.is_ascii() { char::from(*byte) } else { table[usize::from(*byte) - 128] };
        bytes.iter().map(show).collect()
    }

    #[test]
    fn every_byte_comes_back() {
        for page in Page::ALL {
            for byte in 0x80..=0xff_u8 {
                let character = shown(page, &[byte]).chars().next().unwrap();
                assert_eq!(page.byte(character), Some(byte), "{page:?} {byte:x}");
            }
        }
        assert_eq!(shown(Page::Ibm850, "Lännen".as_bytes()), "L├ñnnen");
        assert_eq!(shown(Page::Windows1252, "£3".as_bytes()), "Â£3");
    }
}
