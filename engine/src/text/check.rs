//! What a tokenizer.json must not hold before the `tokenizers` crate gets it: what the crate would panic over, hang on,
//! misread or blow up to any size. Every reason is words for the person whose file it is.

use crate::text::construction::MAX_TOKENS;
use crate::text::sentencepiece::check_byte_pieces;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Largest tokenizer.json, in bytes. Gemma's takes 33 MB.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Most values in one. Llama 3's holds a million, Gemma's two; each takes up to a hundred bytes of memory.
const MAX_VALUES: usize = 6 << 20;
/// Most merges. Gemma has 580,604.
const MAX_MERGES: usize = 4 << 20;
/// Longest token in bytes. The longest in use are rows of spaces and dashes of some hundred.
const MAX_TOKEN_BYTES: usize = 4096;
/// Longest pattern in bytes; that of DeepSeek's first models takes 700.
const MAX_PATTERN_BYTES: usize = 4096;
/// Most steps of a normalizer, a pre-tokenizer or a decoder.
const MAX_STEPS: usize = 16;
/// Longest text that replaces another or is set before one, in bytes. `▁` has three.
const MAX_REPLACEMENT_BYTES: usize = 8;
/// How many times longer all replacements of a part together may make a text.
const MAX_GROWTH: usize = 64;

/// Reads a JSON file of bounded length and content.
///
/// # Errors
/// The reason without the file's name.
pub fn read_json(path: &Path) -> Result<Value, String> {
    let bytes = read_bounded(path, MAX_FILE_BYTES)?;
    let mut values = 0;
    let mut in_string = false;
    let mut escaped = false;
    for byte in &bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => values += 1,
            _ => {}
        }
    }
    if values > MAX_VALUES {
        return Err(format!("holds {values} values; at most {MAX_VALUES} are accepted"));
    }
    serde_json::from_slice(&bytes).map_err(|error| format!("is no JSON: {error}"))
}

/// Reads a file that is no longer than `limit` bytes.
///
/// # Errors
/// The reason without the file's name.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let about = std::fs::metadata(path).map_err(unreadable)?;
    if !about.is_file() {
        return Err("is no file".to_string());
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(format!("is longer than {} MB", limit >> 20));
    }
    Ok(bytes)
}

/// Whether bytes stand for themselves under other characters, as in GPT-2, or are tokens such as `<0x0A>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    ByteLevel,
    ByteFallback,
}

/// Checks a whole tokenizer.json.
///
/// # Errors
/// The reason without the file's name.
pub fn check_tokenizer(json: &Value) -> Result<Alphabet, String> {
    let alphabet = check_model(json)?;
    check_added_tokens(&json["added_tokens"])?;
    const NORMALIZERS: Kinds = Kinds {
        part: "normalizer",
        steps: "normalizers",
        known: &["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip", "StripAccents", "Replace", "Prepend"],
    };
    const PRE_TOKENIZERS: Kinds = Kinds {
        part: "pre_tokenizer",
        steps: "pretokenizers",
        known: &["ByteLevel", "Split", "Digits", "Metaspace", "Punctuation", "Whitespace", "WhitespaceSplit"],
    };
    const POST_PROCESSORS: Kinds = Kinds {
        part: "post_processor",
        steps: "processors",
        known: &["ByteLevel", "TemplateProcessing", "RobertaProcessing", "BertProcessing"],
    };
    const DECODERS: Kinds = Kinds {
        part: "decoder",
        steps: "decoders",
        known: &["ByteLevel", "Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"],
    };
    for kinds in [NORMALIZERS, PRE_TOKENIZERS, POST_PROCESSORS, DECODERS] {
        let mut steps = Vec::new();
        kinds.collect(&json[kinds.part], &mut steps)?;
        let mut growth = 1;
        for step in steps {
            growth *= check_step(kinds.part, step)?;
            if growth > MAX_GROWTH {
                return Err(format!("has replacements in its {} that make texts too long", kinds.part));
            }
        }
    }
    Ok(alphabet)
}

/// Which kinds of steps a part may have.
struct Kinds {
    part: &'static str,
    /// Where a sequence keeps its steps.
    steps: &'static str,
    known: &'static [&'static str],
}

impl Kinds {
    /// All steps in their order, sequences within sequences laid out flat.
    fn collect<'j>(&self, step: &'j Value, steps: &mut Vec<&'j Value>) -> Result<(), String> {
        let part = self.part;
        if step.is_null() {
            return Ok(());
        }
        let kind = step["type"].as_str().unwrap_or_default();
        if kind == "Sequence" {
            let inner =
                step[self.steps].as_array().ok_or_else(|| format!("has a sequence in its {part} without steps"))?;
            return inner.iter().try_for_each(|step| self.collect(step, steps));
        }
        if !self.known.contains(&kind) {
            let shown: String = kind.chars().take(80).collect();
            return Err(format!(
                "has a {part} of the kind {shown:?}, which is not known. Known are: {}",
                self.known.join(", ")
            ));
        }
        steps.push(step);
        if steps.len() > MAX_STEPS {
            return Err(format!("has more than {MAX_STEPS} steps in its {part}"));
        }
        Ok(())
    }
}

/// One step, and how many times longer it may make a text.
fn check_step(part: &str, step: &Value) -> Result<usize, String> {
    let pattern = &step["pattern"];
    for (kind, is_regex) in [("Regex", true), ("String", false)] {
        let Some(pattern) = pattern[kind].as_str() else { continue };
        if pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES {
            return Err(format!(
                "has a pattern of {} bytes in its {part}; 1 to {MAX_PATTERN_BYTES} are accepted",
                pattern.len()
            ));
        }
        if is_regex {
            check_regex(pattern).map_err(|reason| format!("has a pattern in its {part} that {reason}: {pattern:?}"))?;
        }
    }
    let mut growth = 1;
    for key in ["content", "prepend"] {
        let Some(words) = step[key].as_str() else { continue };
        if words.len() > MAX_REPLACEMENT_BYTES {
            return Err(format!(
                "puts {} bytes into texts in its {part}; at most {MAX_REPLACEMENT_BYTES} are accepted",
                words.len()
            ));
        }
        if key == "content" {
            growth = words.len().max(1);
        }
    }
    // The crate cuts more characters off a token than it has.
    if part == "decoder" && step["type"] == "Strip" && (step["stop"] != 0 || step["start"].as_u64() > Some(16)) {
        return Err("has a decoder that cuts the ends of tokens off".to_string());
    }
    Ok(growth)
}

/// Refuses what makes a backtracking search slow beyond all bounds: a repetition of something that repeats itself, and
/// back references. The patterns of all known models do without.
fn check_regex(pattern: &str) -> Result<(), &'static str> {
    // Of every open group, whether something in it repeats without an end.
    let mut groups = vec![false];
    // Whether what a quantifier would now stand behind is a group that holds such a repetition.
    let mut repeats_inside = false;
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                repeats_inside = false;
                match characters.next() {
                    Some('1'..='9' | 'k' | 'g') => return Err("refers back to what it has found"),
                    // A property such as \p{L} is one character.
                    Some('p' | 'P' | 'x' | 'u') if characters.peek() == Some(&'{') => {
                        characters.by_ref().find(|character| *character == '}');
                    }
                    _ => {}
                }
            }
            '[' => {
                skip_class(&mut characters);
                repeats_inside = false;
            }
            '(' => {
                groups.push(false);
                // What follows is no quantifier but the kind of the group.
                if characters.next_if_eq(&'?').is_some() && characters.peek() == Some(&'(') {
                    return Err("depends on what it has found");
                }
                repeats_inside = false;
            }
            ')' => {
                let inner = if groups.len() > 1 { groups.pop() == Some(true) } else { return Err("has a ) too many") };
                if let Some(outer) = groups.last_mut() {
                    *outer |= inner;
                }
                repeats_inside = inner;
            }
            '*' | '+' | '{' => {
                if character == '{' {
                    let count: String = characters.by_ref().take_while(|character| *character != '}').collect();
                    if !count.ends_with(',') {
                        // A bounded number of unbounded repetitions is as bad as it is large.
                        if repeats_inside {
                            return Err("repeats what repeats itself");
                        }
                        continue;
                    }
                }
                if repeats_inside {
                    return Err("repeats what repeats itself");
                }
                if let Some(group) = groups.last_mut() {
                    *group = true;
                }
            }
            // Optional, lazy or possessive: neither repeats anything nor ends what stands before it.
            '?' => {}
            _ => repeats_inside = false,
        }
    }
    Ok(())
}

/// Reads on behind the end of a character class, of which classes may be part.
fn skip_class(characters: &mut std::iter::Peekable<std::str::Chars>) {
    characters.next_if_eq(&'^');
    // At the beginning a closing bracket stands for itself.
    characters.next_if_eq(&']');
    let mut depth = 1;
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                characters.next();
            }
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

/// Vocabulary and merges: a merge longer than every token, ids far apart or shared, a kind of model that is none of ours.
fn check_model(json: &Value) -> Result<Alphabet, String> {
    let model = &json["model"];
    // Older files leave the type out.
    if !model["type"].is_null() && model["type"] != "BPE" {
        let kind: String = model["type"].to_string().chars().take(80).collect();
        return Err(format!("has a tokenizer of the kind {kind}; only BPE can be read"));
    }
    for key in ["continuing_subword_prefix", "end_of_word_suffix", "dropout"] {
        let value = &model[key];
        if !(value.is_null() || value == "") {
            return Err(format!("has a tokenizer with {key}, which no BPE of a Llama uses"));
        }
    }
    let vocab = model["vocab"].as_object().ok_or("has a tokenizer without a vocabulary")?;
    if vocab.len() > MAX_TOKENS {
        return Err(format!("has {} tokens; at most {MAX_TOKENS} are accepted", vocab.len()));
    }
    let mut seen = vec![false; vocab.len() * 2];
    for (token, id) in vocab {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(format!("has a token of {} bytes; at most {MAX_TOKEN_BYTES} are accepted", token.len()));
        }
        let slot = id.as_u64().and_then(|id| seen.get_mut(usize::try_from(id).ok()?));
        match slot {
            Some(taken) if !*taken => *taken = true,
            _ => return Err(format!("gives token {token:?} the number {id}, which is taken or far out of range")),
        }
    }
    let merges = model["merges"].as_array().ok_or("has a tokenizer without merges")?;
    if merges.len() > MAX_MERGES {
        return Err(format!("has {} merges; at most {MAX_MERGES} are accepted", merges.len()));
    }
    for merge in merges {
        let pair = match merge {
            Value::String(words) => words.split_once(' '),
            Value::Array(words) => match words.as_slice() {
                [Value::String(first), Value::String(second)] => Some((first.as_str(), second.as_str())),
                _ => None,
            },
            _ => None,
        };
        let known = |token: &str| vocab.contains_key(token);
        if !pair.is_some_and(|(first, second)| known(first) && known(second) && known(&format!("{first}{second}"))) {
            return Err(format!("has a merge {merge} of tokens that are not in its vocabulary"));
        }
    }
    let unknown = &model["unk_token"];
    if unknown.as_str().is_some_and(|token| !vocab.contains_key(token)) {
        return Err(format!("has the unknown token {unknown}, which is not in its vocabulary"));
    }
    if uses_byte_level(&json["pre_tokenizer"]) {
        return Ok(Alphabet::ByteLevel);
    }
    if model["byte_fallback"] != true {
        return Err(
            "has a tokenizer that is neither byte-level, as Llama 3's, nor falls back to bytes, as Llama 2's: \
                    some characters would be lost"
                .to_string(),
        );
    }
    check_byte_pieces(|piece| vocab.contains_key(piece))?;
    Ok(Alphabet::ByteFallback)
}

fn uses_byte_level(pre_tokenizer: &Value) -> bool {
    let steps = pre_tokenizer["pretokenizers"].as_array();
    pre_tokenizer["type"] == "ByteLevel" || steps.is_some_and(|steps| steps.iter().any(uses_byte_level))
}

/// That they have a name and a number each. Whether the numbers fit is seen when the tokenizer stands.
fn check_added_tokens(added: &Value) -> Result<(), String> {
    if added.is_null() {
        return Ok(());
    }
    let added = added.as_array().ok_or("has added_tokens that are no list")?;
    if added.len() > MAX_TOKENS {
        return Err(format!("adds {} tokens; at most {MAX_TOKENS} are accepted", added.len()));
    }
    for token in added {
        let content = token["content"].as_str().unwrap_or_default();
        let id = token["id"].as_u64();
        if content.is_empty() || content.len() > MAX_TOKEN_BYTES || id.is_none_or(|id| id >= MAX_TOKENS as u64) {
            let shown: String = token.to_string().chars().take(120).collect();
            return Err(format!("adds a token without a usable name or number: {shown}"));
        }
        // Such a token would claim characters that the one before it has taken.
        let strips = token["lstrip"] == true || token["rstrip"] == true;
        if strips && content.trim() != content {
            return Err(format!("adds the token {content:?}, which is a space and takes spaces away"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_may_take_for_ever_are_refused() {
        for pattern in
            [r"(a+)+$", r"(?:x*y?)*", r"((ab+)?){2,}", r"(a|b+)+c", r"(a)\1", r"([^a]*){1000}", r"(?:(?:a*))*"]
        {
            assert!(check_regex(pattern).is_err(), "{pattern}");
        }
        for pattern in [
            r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"\d{1,3}(?=(?:\d{3})*\b)",
            r"((?=[\p{L}])([^a-z]))*((?=[\p{L}])([^A-Z]))+",
            r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##,
            r"[]+*]+(?:a{3})*",
        ] {
            assert_eq!(check_regex(pattern), Ok(()), "{pattern}");
        }
    }
}
