//! Remains of HTML: tags that are left in a text, and characters written as entities.
//!
//! Text may hold `<` and `&` of its own, so only tags of HTML count, closed and without anything but attributes in
//! them, and only entities that end in a semicolon.

/// Passes over what earlier passes have uncovered, such as `&am<b>p;`; nobody writes more by accident.
const MAX_PASSES: usize = 16;
/// Longest tag and longest entity that is looked for, in bytes: a `<` or `&` costs no more than this.
const MAX_TAG: usize = 2048;
const MAX_ENTITY: usize = 12;

/// The text without tags and with characters for entities; `None`: it has neither.
pub(super) fn repaired(text: &str) -> Option<String> {
    let mut stripped = strip_once(text)?;
    for _ in 1..MAX_PASSES {
        let Some(next) = strip_once(&stripped) else { break };
        stripped = next;
    }
    Some(stripped.trim().to_string())
}

fn strip_once(text: &str) -> Option<String> {
    memchr::memchr2(b'<', b'&', text.as_bytes())?;
    let mut stripped = String::with_capacity(text.len());
    let mut is_changed = false;
    let mut rest = text;
    // Set once the text has been searched for the end of a script in vain, so that it is not searched again.
    let mut scripts_end = true;
    while let Some(place) = memchr::memchr2(b'<', b'&', rest.as_bytes()) {
        stripped.push_str(&rest[..place]);
        rest = &rest[place..];
        if let Some((character, length)) = entity(rest) {
            is_changed = true;
            stripped.push(character);
            rest = &rest[length..];
        } else if let Some(tag) = tag(rest) {
            is_changed = true;
            rest = &rest[tag.bytes..];
            if tag.holds_no_text && scripts_end {
                match end_of(rest, tag.name) {
                    Some(end) => rest = &rest[end..],
                    None => scripts_end = false,
                }
            }
            if tag.breaks && !stripped.ends_with(char::is_whitespace) && !rest.starts_with(char::is_whitespace) {
                stripped.push(' ');
            }
        } else {
            stripped.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    stripped.push_str(rest);
    is_changed.then_some(stripped)
}

struct Tag<'a> {
    name: &'a str,
    bytes: usize,
    /// Words on its two sides are apart.
    breaks: bool,
    /// An opening script or style.
    holds_no_text: bool,
}

fn tag(rest: &str) -> Option<Tag<'_>> {
    let window = &rest.as_bytes()[..rest.len().min(MAX_TAG)];
    if window.starts_with(b"<!--") {
        let end = memchr::memmem::find(window, b"-->")? + 3;
        return Some(Tag { name: "", bytes: end, breaks: true, holds_no_text: false });
    }
    let end = memchr::memchr(b'>', window)?;
    let inside = rest.get(1..end)?;
    if inside.get(..8).is_some_and(|word| word.eq_ignore_ascii_case("!doctype")) {
        return Some(Tag { name: "", bytes: end + 1, breaks: true, holds_no_text: false });
    }
    let (closing, inside) = inside.strip_prefix('/').map_or((false, inside), |inside| (true, inside));
    let name_end = inside.find(|next: char| !next.is_ascii_alphanumeric()).unwrap_or(inside.len());
    let (name, attributes) = inside.split_at(name_end);
    let is_inline = INLINE.iter().any(|known| name.eq_ignore_ascii_case(known));
    if !is_inline && !BLOCKS.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        return None;
    }
    // "a<b and c>d" compares; a tag has nothing, a slash, or attributes with values.
    let attributes = attributes.trim_end_matches(['/', ' ']);
    let has_attributes = attributes.starts_with(char::is_whitespace) && attributes.contains('=');
    if !attributes.is_empty() && !has_attributes || attributes.contains('<') {
        return None;
    }
    let holds_no_text = !closing && ["script", "style"].iter().any(|known| name.eq_ignore_ascii_case(known));
    Some(Tag { name, bytes: end + 1, breaks: !is_inline, holds_no_text })
}

/// Behind the closing tag of a script or style.
fn end_of(rest: &str, name: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(place) = memchr::memmem::find(&rest.as_bytes()[from..], b"</") {
        let name_begin = from + place + 2;
        let closing = rest.as_bytes().get(name_begin..name_begin + name.len())?;
        if closing.eq_ignore_ascii_case(name.as_bytes()) {
            return memchr::memchr(b'>', &rest.as_bytes()[name_begin..]).map(|end| name_begin + end + 1);
        }
        from = name_begin;
    }
    None
}

/// The character that an entity at the beginning stands for, and the entity's length. Entities that were escaped again,
/// such as `&amp;amp;lt;`, are followed to their end.
fn entity(rest: &str) -> Option<(char, usize)> {
    let mut body = rest.strip_prefix('&')?;
    let mut found = None;
    while let Some((character, length)) = entity_body(body) {
        body = &body[length..];
        found = Some((character, rest.len() - body.len()));
        if character != '&' {
            break;
        }
    }
    found
}

/// Behind the `&`: the character and the length with the semicolon.
fn entity_body(body: &str) -> Option<(char, usize)> {
    let end = memchr::memchr(b';', &body.as_bytes()[..body.len().min(MAX_ENTITY)])?;
    let name = body.get(..end)?;
    let character = match name.strip_prefix('#') {
        Some(number) => {
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            // Control characters are another matter; nobody means to write them.
            code.ok().and_then(char::from_u32).map(|decoded| if decoded.is_control() { ' ' } else { decoded })?
        }
        None => ENTITIES.iter().find(|(known, _)| *known == name)?.1,
    };
    // A no-break space in a text is a trap of its own.
    Some((if character == '\u{a0}' { ' ' } else { character }, end + 1))
}

/// Tags within a line of text.
const INLINE: [&str; 24] = [
    "a", "abbr", "b", "bdi", "big", "cite", "code", "del", "em", "font", "i", "ins", "kbd", "mark", "q", "s", "small",
    "span", "strike", "strong", "sub", "sup", "u", "wbr",
];

const BLOCKS: [&str; 56] = [
    "address",
    "article",
    "aside",
    "audio",
    "blockquote",
    "body",
    "br",
    "button",
    "canvas",
    "caption",
    "center",
    "dd",
    "div",
    "dl",
    "dt",
    "embed",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hr",
    "html",
    "iframe",
    "img",
    "input",
    "label",
    "li",
    "link",
    "main",
    "meta",
    "nav",
    "object",
    "ol",
    "option",
    "p",
    "pre",
    "script",
    "section",
    "style",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "title",
    "tr",
    "ul",
    "video",
];

/// The named ones that are met. Source: <https://html.spec.whatwg.org/multipage/named-characters.html>.
const ENTITIES: [(&str, char); 60] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", '\u{a0}'),
    ("AMP", '&'),
    ("LT", '<'),
    ("GT", '>'),
    ("QUOT", '"'),
    ("copy", '©'),
    ("reg", '®'),
    ("trade", '™'),
    ("hellip", '…'),
    ("mdash", '—'),
    ("ndash", '–'),
    ("lsquo", '‘'),
    ("rsquo", '’'),
    ("ldquo", '“'),
    ("rdquo", '”'),
    ("sbquo", '‚'),
    ("bdquo", '„'),
    ("laquo", '«'),
    ("raquo", '»'),
    ("lsaquo", '‹'),
    ("rsaquo", '›'),
    ("bull", '•'),
    ("middot", '·'),
    ("euro", '€'),
    ("pound", '£'),
    ("yen", '¥'),
    ("cent", '¢'),
    ("sect", '§'),
    ("para", '¶'),
    ("deg", '°'),
    ("plusmn", '±'),
    ("times", '×'),
    ("divide", '÷'),
    ("frac12", '½'),
    ("micro", 'µ'),
    ("auml", 'ä'),
    ("ouml", 'ö'),
    ("uuml", 'ü'),
    ("Auml", 'Ä'),
    ("Ouml", 'Ö'),
    ("Uuml", 'Ü'),
    ("szlig", 'ß'),
    ("eacute", 'é'),
    ("egrave", 'è'),
    ("ecirc", 'ê'),
    ("agrave", 'à'),
    ("acirc", 'â'),
    ("aacute", 'á'),
    ("ccedil", 'ç'),
    ("ntilde", 'ñ'),
    ("oacute", 'ó'),
    ("iacute", 'í'),
    ("uacute", 'ú'),
    ("aring", 'å'),
    ("oslash", 'ø'),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tags_go_and_entities_become_characters() {
        for (html, text) in [
            ("<p>Good <b>morning</b></p>", "Good morning"),
            ("one<br/>two<BR>three", "one two three"),
            ("AT&amp;T&#39;s &quot;best&quot;&nbsp;day &#x20AC;5", "AT&T's \"best\" day €5"),
            ("see <a href=\"https://example.org/?a=1\">this</a>.", "see this."),
            ("a<script>var x = '<b>';</script>b<!-- note -->c", "a b c"),
            ("&amp;amp;lt;b&amp;gt;bold", "bold"),
            ("&lt;3 &lt;br&gt;x", "<3 x"),
            ("<script>never closed", "never closed"),
            ("<br>", ""),
        ] {
            assert_eq!(repaired(html).as_deref(), Some(text), "{html}");
        }
    }

    #[test]
    fn text_with_the_same_characters_stays() {
        for text in [
            "a < b and c > d",
            "AT&T",
            "x<y>z",
            "if a<b and c>d",
            "R&D; fish & chips;",
            "I <3 you",
            "<user> said",
            "1 <2> 3",
            "&unknown;",
            "&#; &#xZZ; &#1114112;",
            "<",
            "&",
            "<b",
            "->",
            "<https://example.org>",
            "a <= b => c",
        ] {
            assert_eq!(repaired(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn stripping_twice_is_stripping_once(
            parts in proptest::collection::vec(
                proptest::sample::select(vec![
                    "<b>", "</b>", "<br>", "&amp;", "&lt;", "&gt;", "amp;", "lt;", "br", "b", "<", ">", "/", "&", "#39;",
                    "<p class=\"x\">", "<script>", "</script>", "<!--", "-->", " ", "text", "é",
                ]),
                0..24,
            )
        ) {
            let html = parts.concat();
            if let Some(once) = repaired(&html) {
                prop_assert_eq!(repaired(&once), None, "{} became {}", html, once);
            }
        }
    }

    #[test]
    fn a_hostile_text_takes_no_long_time() {
        let started = std::time::Instant::now();
        for hostile in ["<script>", "&amp;", "<", "&", "<!--", "</script", "<a =", "&am<b>p;"] {
            repaired(&hostile.repeat(200_000));
        }
        assert!(started.elapsed().as_secs() < 20);
    }
}
