//! Mojibake: text in UTF-8 that some program took for another encoding and stored again.
//!
//! Three kinds are known and undone. Text seen as Windows-1252 or Latin-1 (`Â£3.5bn` was `£3.5bn`), text seen as one of
//! the IBM code pages of consoles (`L├ñnnen` was `Lännen`), and the latter once it went through Windows-1252, which
//! turns box-drawing characters into the ASCII that looks most like them (`L+ñnnen`): see `flattened`. Text that was
//! spoilt several times is undone step by step.
//!
//! Right text must stay as it is, so a sequence counts only where its characters are unlikely to stand together in any
//! language, which is a matter of the script of what it decodes to and of the letters around it.

mod flattened;
mod pages;

use pages::Page;

/// Nobody has been seen to spoil a text more often.
const MAX_TIMES: usize = 4;

/// The text as it was before it was spoilt; `None`: nothing is wrong with it.
pub(super) fn repaired(text: &str) -> Option<String> {
    if text.is_ascii() && !text.contains("++") {
        return None;
    }
    let mut repaired: Option<String> = None;
    for _ in 0..MAX_TIMES {
        let current = repaired.as_deref().unwrap_or(text);
        let Some(next) = undo_once(current).or_else(|| flattened::repaired(current)) else { break };
        repaired = Some(next);
    }
    let current = repaired.as_deref().unwrap_or(text);
    without_remains(current).or(repaired).filter(|repaired| repaired != text)
}

/// Decodes every sequence that is plausible; `None`: there is none.
fn undo_once(text: &str) -> Option<String> {
    let mut decoded = String::new();
    // Where the part begins that has not been copied yet.
    let mut copied = 0;
    let mut place = 0;
    let mut previous = None;
    // The script of the sequence that ended here.
    let mut run: Option<Script> = None;
    while let Some(character) = text[place..].chars().next() {
        match sequence_at(&text[place..], previous, run) {
            Some(sequence) => {
                decoded.push_str(&text[copied..place]);
                decoded.push(sequence.character);
                place += sequence.bytes;
                copied = place;
                previous = Some(sequence.character);
                run = Some(script(sequence.character));
            }
            None => {
                place += character.len_utf8();
                previous = Some(character);
                run = None;
            }
        }
    }
    if copied == 0 {
        return None;
    }
    decoded.push_str(&text[copied..]);
    Some(decoded)
}

/// A character, and the bytes of the spoilt text that stood for it.
struct Sequence {
    character: char,
    bytes: usize,
}

fn sequence_at(rest: &str, previous: Option<char>, run: Option<Script>) -> Option<Sequence> {
    let lead = rest.chars().next()?;
    if lead.is_ascii() {
        return None;
    }
    Page::ALL
        .into_iter()
        .filter(|page| page.may_lead(lead))
        .find_map(|page| decode(page, rest).filter(|sequence| is_plausible(page, sequence, rest, previous, run)))
}

/// The UTF-8 sequence that begins here, seen through a page.
fn decode(page: Page, rest: &str) -> Option<Sequence> {
    let mut characters = rest.chars();
    let lead = page.byte(characters.next()?)?;
    let length = match lead {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    let mut bytes = [lead, 0, 0, 0];
    for byte in bytes.iter_mut().take(length).skip(1) {
        *byte = page.byte(characters.next()?).filter(|byte| (0x80..=0xbf).contains(byte))?;
    }
    let character = std::str::from_utf8(bytes.get(..length)?).ok()?.chars().next()?;
    Some(Sequence { character, bytes: rest.len() - characters.as_str().len() })
}

/// What a decoded character belongs to, as far as it says how likely its sequence is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Script {
    /// U+0080 to U+009F: what is left when Latin-1 was spoilt twice.
    Control,
    /// U+00A0 to U+00BF: signs such as £ and °.
    Sign,
    Latin,
    /// Dashes, quotes, currencies, arrows, symbols.
    Symbol,
    Emoji,
    /// Another script, by the 256 characters that it lies in.
    Other(u32),
}

fn script(character: char) -> Script {
    match character {
        '\u{80}'..='\u{9f}' => Script::Control,
        '\u{a0}'..='\u{bf}' => Script::Sign,
        '\u{c0}'..='\u{17f}' | '\u{218}'..='\u{21b}' | '\u{1e00}'..='\u{1eff}' => Script::Latin,
        '\u{2000}'..='\u{206f}'
        | '\u{20a0}'..='\u{20bf}'
        | '\u{2100}'..='\u{27bf}'
        | '\u{fe0f}'
        | '\u{feff}'
        | '\u{fffd}' => Script::Symbol,
        '\u{1f000}'..='\u{1ffff}' => Script::Emoji,
        other => Script::Other(other as u32 >> 8),
    }
}

fn is_plausible(page: Page, sequence: &Sequence, rest: &str, previous: Option<char>, run: Option<Script>) -> bool {
    let after = &rest[sequence.bytes..];
    let is_letter = |character: Option<char>| character.is_some_and(char::is_alphabetic);
    let is_upper = |character: Option<char>| character.is_some_and(char::is_uppercase);
    let next = after.chars().next();
    // The second character of the spoilt sequence, which in right text would stand behind an accented capital.
    let second = rest.chars().nth(1);
    match script(sequence.character) {
        Script::Emoji | Script::Symbol => true,
        Script::Control => page == Page::Windows1252,
        Script::Sign if page == Page::Windows1252 => {
            // "VOILÂ»" could be right; "Â£" could not.
            !(is_upper(previous) && second.is_some_and(ends_a_word))
        }
        Script::Latin if page == Page::Windows1252 => {
            // A capital before a closing quote or a dash may be the end of a word in capitals: "NÃ…" and "„HÄ“" can be
            // right, "sÅ“ur" and "Ã„rger" cannot.
            !second.is_some_and(ends_a_word) || previous.is_some_and(char::is_lowercase) || is_letter(next)
        }
        // Tables are drawn with the same characters; letters do not stand in them.
        Script::Sign | Script::Latin => {
            !second.is_some_and(|second| ('\u{2500}'..='\u{259f}').contains(&second))
                || is_letter(previous)
                || is_letter(next)
                || run.is_some()
                || decode(page, after).is_some()
        }
        // One sequence of another script may be chance; two in a row are not.
        other @ Script::Other(_) => {
            run == Some(other) || decode(page, after).is_some_and(|next| script(next.character) == other)
        }
    }
}

/// Characters that stand behind a word in right text.
fn ends_a_word(character: char) -> bool {
    matches!(character, '’' | '‘' | '‚' | '“' | '”' | '„' | '…' | '–' | '—' | '›' | '‹' | '«' | '»' | '™' | '®' | '•')
}

/// What is left where bytes were lost before the text came here: a space where a no-break space belonged, or a quote
/// whose last byte has no character.
fn without_remains(text: &str) -> Option<String> {
    if !text.contains(['Â', 'Ã']) && !text.contains("â€") {
        return None;
    }
    let mut kept = String::with_capacity(text.len());
    let mut place = 0;
    while let Some(character) = text[place..].chars().next() {
        let after = &text[place + character.len_utf8()..];
        let previous = kept.chars().next_back();
        let is_before_space = after.is_empty() || after.starts_with(char::is_whitespace);
        // A capital cannot follow a small letter, and is no word of its own.
        let is_out_of_place = is_before_space && !previous.is_some_and(|before| before.is_uppercase());
        let (replacement, bytes) = match character {
            'Â' if is_out_of_place => ("", 0),
            'Ã' if is_out_of_place && previous.is_some_and(char::is_lowercase) => ("à", 0),
            'â' if after.starts_with('€') => ("”", '€'.len_utf8()),
            _ => {
                kept.push(character);
                place += character.len_utf8();
                continue;
            }
        };
        kept.push_str(replacement);
        place += character.len_utf8() + bytes;
        // The space stands for the byte A0: "of Â 5" was "of", a no-break space and "5", "voilÃ  la" had one space.
        let is_double = match character {
            'Â' => (kept.is_empty() || kept.ends_with(' ')) && text[place..].starts_with(' '),
            _ => character == 'Ã' && text[place..].starts_with("  "),
        };
        place += usize::from(is_double);
    }
    Some(kept).filter(|kept| kept != text)
}

#[cfg(test)]
mod tests {
    use super::pages::tests::shown;
    use super::*;
    use proptest::prelude::*;

    fn repaired_or_same(text: &str) -> String {
        repaired(text).unwrap_or_else(|| text.to_string())
    }

    #[test]
    fn known_kinds_are_undone() {
        for (spoilt, right) in [
            ("in Marco for Â£3.5bn", "in Marco for £3.5bn"),
            ("Deutsche BÃ¶rse", "Deutsche Börse"),
            ("over Xmas â€“ Kantar", "over Xmas – Kantar"),
            ("itâ€™s", "it’s"),
            ("Ã„rger Ã¼ber KÃ¶ln", "Ärger über Köln"),
            ("Ã\u{84}rger", "Ärger"),
            ("sÅ“ur", "sœur"),
            ("Ä°stanbul'da gÃ¼neÅŸli bir gÃ¼n, sÄ±cak", "İstanbul'da güneşli bir gün, sıcak"),
            ("to the moon ðŸš€", "to the moon 🚀"),
            ("ğŸš€", "🚀"),
            ("ÐŸÑ€Ð¸Ð²ÐµÑ‚", "Привет"),
            ("itÃ¢â‚¬â„¢s", "it’s"),
            ("L├ñnnen", "Lännen"),
            ("T├®l├®com", "Télécom"),
            ("itÔÇÖs Ôé¼5", "it’s €5"),
            ("5 Â° C and Â 7", "5 ° C and 7"),
            ("voilÃ  la", "voilà la"),
        ] {
            assert_eq!(repaired_or_same(spoilt), right);
        }
    }

    #[test]
    fn right_text_stays() {
        for right in [
            "Où êtes-vous allés à Noël ? « Là-bas », répondit l'élève : « ça coûte 5 € à peu près… » À côté, l'âne brait. \
             ŒUVRE ACHEVÉE » et « DÉJÀ » sont écrits en majuscules, CAFÉ™ et DÉPÔT®, NÎMES–ÉVREUX.",
            "„GRÜẞE AUS MÜNCHEN“ – so stand's über der Tür: „Ärgerlich, daß Öl 5 £ kostet“, sagte Jürgen. SCHÖN“ „HÄ“ IDEÉ…",
            "Şu ağaçların gölgesinde İstanbul'lu çocuklar öğleden sonra uyuyor; “ÇAĞRI” ve “ÖĞLE” yazıyor. IŞIĞI’nı ğ Ÿ",
            "Hyvää päivää, Yhtiön tulos nousi 5,5 milj. euroon – Åbo ja Äänekoski (Ö–Ä) ”ÄÄNI” ja ”ÅÅ”.",
            "El niño comió piñas en Logroño; ¿dónde está el camión? ¡Qué frío! «SÍ», «ÁRBOL», AÑO… franco-árabe, 5º-6ª.",
            "A manhã está fria; NÃO… MÃE “IRMÃ” AMANHÃ™ ÓRGÃO®",
            "Привет, мир! Γειά σου Κόσμε. 日本語の文章です。 שלום مرحبا",
            "📈 strong results… today’s gains—up £5 (20 °C) © 2006 ® ½",
            "C++ and g++ compile A+£5, Canal+® and Disney+ «-» 5-6 peut-être -à-dire 10-á +ç B+",
            "┌──┬──┐ │ a│ é│ ├──┼──┤ ╔═╦═╗",
            "Côte d'Ivoire's CAPÔÉ, Ô Canada, Ð and ð are letters, 2 × 3 ÷ 4",
        ] {
            assert_eq!(repaired(right), None);
        }
    }

    proptest! {
        #[test]
        fn text_that_is_spoilt_comes_back(
            words in proptest::collection::vec("[A-ZÄÖÜÉ]?[a-zäöüßéèêçñåøæąęłşğıőűčš]{2,8}[a-z]", 1..8),
            page in proptest::sample::select(Page::ALL.to_vec()),
            times in 1..3_usize,
        ) {
            let right = words.join(" – ");
            // Some letters do not stand together in any language.
            prop_assume!(repaired(&right).is_none());
            let times = if page == Page::Windows1252 { times } else { 1 };
            let spoilt = (0..times).fold(right.clone(), |text, _| shown(page, text.as_bytes()));
            prop_assert_eq!(repaired_or_same(&spoilt), right);
        }

        #[test]
        fn any_text_is_survived_and_comes_to_rest(text in "([ÂÃâ€ðŸ™¶Ä±+£à├ñ A1-]|\\PC){0,30}") {
            let mut text = text;
            for _ in 0..30 {
                let Some(next) = repaired(&text) else { return Ok(()) };
                prop_assert_ne!(&next, &text);
                text = next;
            }
            prop_assert!(false, "{text}");
        }
    }
}
