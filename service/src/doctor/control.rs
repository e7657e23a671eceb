//! Characters that steer devices or layout and belong to no text.

/// The text without them; `None`: it has none.
///
/// Those that break lines on old devices become spaces, so that words stay apart; the others go. Joiners stay: emoji and
/// several scripts are written with them.
pub(super) fn repaired(text: &str) -> Option<String> {
    if !text.contains(is_control) {
        return None;
    }
    let breaks = |character| matches!(character, '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1f}' | '\u{85}');
    let kept = |character: char| match character {
        _ if !is_control(character) => Some(character),
        _ if breaks(character) => Some(' '),
        _ => None,
    };
    Some(text.chars().filter_map(kept).collect::<String>().trim().to_string())
}

fn is_control(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => false,
        // Marks of byte order and of the direction of writing, and the space of no width.
        '\u{feff}' | '\u{200b}' | '\u{2060}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_no_text_goes() {
        assert_eq!(repaired("a\0b\u{1b}[0m c\u{c}d\u{feff}").unwrap(), "ab[0m c d");
        for right in ["line one\r\nline two\tend", "👩\u{200d}👩\u{200d}👧", "می\u{200c}خواهم", "soft\u{ad}hyphen", ""]
        {
            assert_eq!(repaired(right), None, "{right}");
        }
    }
}
