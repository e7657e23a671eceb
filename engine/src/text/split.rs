//! How byte-level tokenizers cut a text before they merge: what a GGUF file says in one word
//! (`tokenizer.ggml.pre`), written as tokenizer.json says it.
//!
//! Sources: the table of names and the patterns in llama.cpp's llama-vocab.cpp (`llama_vocab::impl::load` and
//! `llm_tokenizer_bpe`), which quotes the `pre_tokenizer` of each model's own tokenizer.json where it had to bend it.
//! Here stands the model's own. Where llama.cpp applies several patterns in turn, so does the sequence here: each cuts
//! what the ones before it left, matches and gaps alike.

use serde_json::{Value, json};

/// How a family of models cuts texts, and what goes with it.
pub struct Splitting {
    /// The `pre_tokenizer` of a tokenizer.json.
    pub pre_tokenizer: Value,
    /// The `normalizer` of a tokenizer.json; null for most.
    pub normalizer: Value,
    /// Takes a piece that is a token as it is, before any merge.
    pub ignore_merges: bool,
    /// Sets the first token before a text where the file does not say whether to.
    pub adds_bos: bool,
}

/// A way to cut, without what depends on the name.
#[derive(Clone, Copy)]
enum Cut {
    /// Patterns in turn, `\p{N}` standing for single digits.
    Patterns(&'static [&'static str]),
    /// GPT-2's own pattern, which `ByteLevel` knows.
    Gpt2,
    /// Every digit alone, then GPT-2's pattern.
    DigitsThenGpt2,
}

const LLAMA3: Cut = Cut::Patterns(&[
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]);
/// Llama 3's with every digit alone.
const QWEN2: Cut = Cut::Patterns(&[
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]);
/// Qwen2's with combining marks as parts of words.
const QWEN35: Cut = Cut::Patterns(&[
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]);
const TEKKEN: Cut = Cut::Patterns(&[
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]);
const GPT4O: Cut = Cut::Patterns(&[
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]);
const DEEPSEEK_LLM: Cut = Cut::Patterns(&[
    r"[\r\n]",
    // Some of these characters compose (NFC) to others and must not: they are written as numbers.
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u{1F7D}ᾀ-ᾴᾶ-ᾼ\u{1FBE}ῂ-ῄῆ-ῌῐ-\u{1FD3}ῖ-\u{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u{2126}ℨ\u{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
    r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
    r"\s+$",
    r"[一-龥ࠀ-一가-퟿]+",
    SINGLE_DIGITS,
]);
const DEEPSEEK_CODER: Cut = Cut::Patterns(&[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+", SINGLE_DIGITS]);
const DEEPSEEK_V3: Cut = Cut::Patterns(&[
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
]);
const BLOOM: Cut = Cut::Patterns(&[r" ?[^(\s|.,!?…。，、।۔،)]+"]);
const VIKING: Cut = Cut::Patterns(&[r" ?[^(\s|.,!?…。，、।۔،)]+", SINGLE_DIGITS]);
const SEED_CODER: Cut = Cut::Patterns(&[
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+",
]);
/// What llama.cpp does where its converter did not know the model.
const DEFAULT: Cut = Cut::Patterns(&[
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    "[0-9][0-9][0-9]",
]);

/// Written as `Digits`, as in the models' own files.
const SINGLE_DIGITS: &str = r"\p{N}";

/// What llama.cpp's names stand for. Qwen2, Command R, MPT and OLMo compose characters first (NFC), as their own
/// tokenizer.json says and llama.cpp leaves out.
const FAMILIES: &[Family] = &[
    Family {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "lfm2", "midm-2.0", "pixtral"],
        cut: LLAMA3,
        ignore_merges: true,
        adds_bos: true,
        composes: false,
    },
    Family::plain(&["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], LLAMA3),
    Family::composing(&["qwen2"], QWEN2),
    Family::plain(&["deepseek-r1-qwen", "megrez", "hunyuan", "stablelm2", "kormo", "grok-2", "solar-open"], QWEN2),
    Family::plain(&["qwen35"], QWEN35),
    Family { names: &["tekken"], cut: TEKKEN, ignore_merges: true, adds_bos: true, composes: false },
    Family::plain(&["gpt-4o", "llama4", "kanana2"], GPT4O),
    Family::plain(
        &["gpt-2", "phi-2", "jais", "trillion", "granite-docling", "exaone4", "gigachat", "a.x-4.0", "mellum"],
        Cut::Gpt2,
    ),
    Family::composing(&["mpt", "olmo"], Cut::Gpt2),
    Family::plain(
        &["smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"],
        Cut::DigitsThenGpt2,
    ),
    Family::composing(&["command-r"], Cut::DigitsThenGpt2),
    Family::plain(&["deepseek-llm"], DEEPSEEK_LLM),
    Family::plain(&["deepseek-coder"], DEEPSEEK_CODER),
    Family::plain(&["deepseek-v3", "hunyuan-dense"], DEEPSEEK_V3),
    Family::plain(&["bloom", "poro-chat", "gpt3-finnish"], BLOOM),
    Family::plain(&["viking"], VIKING),
    Family::plain(&["seed-coder"], SEED_CODER),
    Family::plain(&["default"], DEFAULT),
];

struct Family {
    names: &'static [&'static str],
    cut: Cut,
    ignore_merges: bool,
    adds_bos: bool,
    composes: bool,
}

impl Family {
    const fn plain(names: &'static [&'static str], cut: Cut) -> Self {
        Self { names, cut, ignore_merges: false, adds_bos: false, composes: false }
    }

    const fn composing(names: &'static [&'static str], cut: Cut) -> Self {
        Self { composes: true, ..Self::plain(names, cut) }
    }
}

impl Splitting {
    /// What a name in `tokenizer.ggml.pre` stands for.
    ///
    /// # Errors
    /// A name that is not known; the message lists those that are.
    pub fn named(name: &str) -> Result<Self, String> {
        let Some(family) = FAMILIES.iter().find(|family| family.names.contains(&name)) else {
            let known: Vec<&str> = FAMILIES.iter().flat_map(|family| family.names).copied().collect();
            let shown: String = name.chars().take(80).collect();
            return Err(format!(
                "splits text in the way {shown:?} (tokenizer.ggml.pre), which is not known. Known are: {}",
                known.join(", ")
            ));
        };
        Ok(Self {
            pre_tokenizer: family.cut.pre_tokenizer(),
            normalizer: if family.composes { json!({ "type": "NFC" }) } else { Value::Null },
            ignore_merges: family.ignore_merges,
            adds_bos: family.adds_bos,
        })
    }
}

/// llama.cpp's name for the way in which a tokenizer.json cuts texts, the inverse of [`Splitting::named`]; `None` where
/// it has no name for it. Among families that cut alike, one that ignores merges as the file does is preferred (that
/// matters only for tokens which no merge makes), then one that composes characters as the file does.
pub fn name_of(tokenizer: &Value) -> Option<&'static str> {
    let wanted = steps_of(&tokenizer["pre_tokenizer"])?;
    let ignores_merges = tokenizer["model"]["ignore_merges"] == true;
    let composes = tokenizer["normalizer"]["type"] == "NFC";
    let alike = FAMILIES.iter().filter(|family| steps_of(&family.cut.pre_tokenizer()).as_ref() == Some(&wanted));
    let best = alike.min_by_key(|family| (family.ignore_merges != ignores_merges, family.composes != composes))?;
    best.names.first().copied()
}

/// What decides where a step cuts.
#[derive(PartialEq)]
enum Step {
    Pattern(String),
    Bytes { use_regex: bool },
}

/// The steps of a `pre_tokenizer`; `None` where one is of another kind than those that are written here.
fn steps_of(pre_tokenizer: &Value) -> Option<Vec<Step>> {
    let steps = match pre_tokenizer["pretokenizers"].as_array() {
        Some(steps) => steps.as_slice(),
        None => std::slice::from_ref(pre_tokenizer),
    };
    let step = |step: &Value| match step["type"].as_str()? {
        "Split" if step["behavior"] == "Isolated" && step["invert"] != true => {
            Some(Step::Pattern(step["pattern"]["Regex"].as_str()?.to_string()))
        }
        "Digits" if step["individual_digits"] == true => Some(Step::Pattern(SINGLE_DIGITS.to_string())),
        "ByteLevel" if step["add_prefix_space"] != true => Some(Step::Bytes { use_regex: step["use_regex"] != false }),
        _ => None,
    };
    steps.iter().map(step).collect()
}

impl Cut {
    fn pre_tokenizer(self) -> Value {
        match self {
            Self::Gpt2 => byte_level(true),
            Self::DigitsThenGpt2 => sequence(vec![digits(), byte_level(true)]),
            Self::Patterns(patterns) => {
                let mut steps: Vec<Value> = patterns.iter().map(|pattern| split(pattern)).collect();
                steps.push(byte_level(false));
                sequence(steps)
            }
        }
    }
}

/// Bytes become the characters that stand for them; with `use_regex` GPT-2's pattern cuts first.
pub fn byte_level(use_regex: bool) -> Value {
    json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex })
}

fn sequence(steps: Vec<Value>) -> Value {
    json!({ "type": "Sequence", "pretokenizers": steps })
}

fn digits() -> Value {
    json!({ "type": "Digits", "individual_digits": true })
}

fn split(pattern: &str) -> Value {
    if pattern == SINGLE_DIGITS {
        return digits();
    }
    json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::pre_tokenizers::PreTokenizerWrapper;
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    fn pieces(name: &str, text: &str) -> Vec<String> {
        let splitting = Splitting::named(name).unwrap();
        let pre_tokenizer: PreTokenizerWrapper = serde_json::from_value(splitting.pre_tokenizer).unwrap();
        let mut cut = PreTokenizedString::from(text);
        pre_tokenizer.pre_tokenize(&mut cut).unwrap();
        let splits = cut.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.iter().map(|(_, (start, end), _)| text[*start..*end].to_string()).collect()
    }

    #[test]
    fn every_family_cuts_and_loses_nothing() {
        let text = "It's 2,009 €: naïve \u{4e2d}\u{6587}123 x\n\n  y. ＡＢ\u{301}\t'LL 1½\r\n";
        let mut names: Vec<&str> = FAMILIES.iter().flat_map(|family| family.names).copied().collect();
        for name in &names {
            assert_eq!(pieces(name, text).concat(), text, "{name}");
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_way_to_cut_is_found_by_its_steps() {
        for family in FAMILIES {
            let splitting = Splitting::named(family.names[0]).unwrap();
            let mut json = json!({
                "pre_tokenizer": splitting.pre_tokenizer,
                "normalizer": splitting.normalizer,
                "model": { "ignore_merges": splitting.ignore_merges },
            });
            // Of two families that are the same to a tokenizer.json, the first is found.
            let found = Splitting::named(name_of(&json).unwrap()).unwrap();
            assert_eq!(found.pre_tokenizer, splitting.pre_tokenizer, "{}", family.names[0]);
            assert_eq!(found.normalizer, splitting.normalizer, "{}", family.names[0]);
            assert_eq!(found.ignore_merges, splitting.ignore_merges, "{}", family.names[0]);
            json["pre_tokenizer"] = sequence(vec![split(r"\w+"), byte_level(false)]);
            assert_eq!(name_of(&json), None);
        }
        let lone = json!({ "pre_tokenizer": byte_level(true), "model": {} });
        assert_eq!(name_of(&lone), Some("gpt-2"));
        assert_eq!(name_of(&json!({ "pre_tokenizer": { "type": "Whitespace" } })), None);
    }

    #[test]
    fn families_differ_where_their_models_do() {
        let text = "HelloWorld it'LL 12345/ok\n";
        assert_eq!(pieces("llama-bpe", text), ["HelloWorld", " it", "'LL", " ", "123", "45", "/ok", "\n"]);
        assert_eq!(pieces("qwen2", text), ["HelloWorld", " it", "'LL", " ", "1", "2", "3", "4", "5", "/ok", "\n"]);
        assert_eq!(pieces("gpt-2", text), ["HelloWorld", " it", "'", "LL", " 12345", "/", "ok", "\n"]);
        assert_eq!(
            pieces("smollm", text),
            ["HelloWorld", " it", "'", "LL", " ", "1", "2", "3", "4", "5", "/", "ok", "\n"]
        );
        assert_eq!(pieces("tekken", text), ["Hello", "World", " it", "'LL", " ", "1", "2", "3", "4", "5", "/ok", "\n"]);
        assert_eq!(pieces("gpt-4o", text), ["Hello", "World", " it'LL", " ", "123", "45", "/ok", "\n"]);
        assert_eq!(
            pieces("deepseek-llm", text),
            ["HelloWorld", " it", "'", "LL", " ", "1", "2", "3", "4", "5", "/", "ok", "\n"]
        );
        assert_eq!(pieces("deepseek-v3", text), ["HelloWorld", " it", "'LL", " ", "123", "45", "/ok", "\n"]);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let reason = Splitting::named("rwkv").err().unwrap();
        assert!(reason.contains("\"rwkv\"") && reason.contains("llama-bpe") && reason.contains("qwen2"), "{reason}");
    }
}
