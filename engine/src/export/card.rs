//! The model card: a README.md with the front matter that the Hub reads and words for people.
//!
//! Names, labels and prompts were typed by people: each is escaped for the place where it stands, so that a label can be
//! no markup, no second field and no code.

use domain::export::ExportKind;
use domain::metrics::Evaluation;
use domain::spec::{KNOBS, Quantization, TrainSpec};
use domain::template::RenderedTemplate;
use std::fmt::Write;

/// The card's name in a folder.
pub const CARD_FILE: &str = "README.md";

/// Loaded whole, the base is not quite the one that the adapter has learnt to make up for.
const HOLD_AS_NF4: &str = "\
# The base was held in 4 bits while the adapter was trained. To hold it so again, and to get the very same answers, pass\n\
# quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=\"nf4\") from transformers.\n";
const HOLD_AS_DOUBLE_NF4: &str = "\
# The base was held in 4 bits while the adapter was trained. To hold it so again, and to get the very same answers, pass\n\
# quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=\"nf4\", bnb_4bit_use_double_quant=True).\n";

/// The tokens of a prompt, but for the first.
const ENCODE: &str = "tokenizer(before + text + after, add_special_tokens=False).input_ids";
/// The same within the chat template, which sets the first token itself.
const ENCODE_AS_MESSAGE: &str = "messages = [{\"role\": \"user\", \"content\": before + text + after}]\n    \
     words = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)\n    \
     prompt = tokenizer(words, add_special_tokens=False).input_ids";

/// Knobs that say how the run was computed, not what came of it.
const KNOBS_LEFT_OUT: [&str; 2] = ["prompt_template", "per_device_eval_batch_size"];

/// What is to be told of a classifier. What is not known is left out of the card.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelCard {
    pub name: String,
    /// The base as others can have it: its address on the Hub, or its name.
    pub base_model: String,
    /// As the Hub spells licences, such as `apache-2.0`. Only the person who publishes can know which it may be.
    pub licence: Option<String>,
    pub dataset_name: Option<String>,
    /// Of the dataset's content.
    pub dataset_hash: Option<String>,
    pub train_rows: Option<u64>,
    pub validation_rows: Option<u64>,
    pub test_rows: Option<u64>,
    pub recipe: Option<TrainSpec>,
    /// On the test rows, without the adapter.
    pub before: Option<Evaluation>,
    /// On the test rows, with it.
    pub after: Option<Evaluation>,
}

/// How the classifier is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    pub labels: Vec<String>,
    pub prompt: RenderedTemplate,
    /// The token before every prompt, where the model has one.
    pub bos: Option<u32>,
    /// Whether the prompt goes into the model's own chat template.
    pub use_chat_template: bool,
    /// The tokens that follow the prompt for each label. They depend on more than the label: on the space before it, on
    /// whether another one begins with it, on how the tokenizer sets spaces.
    pub answers: Vec<Vec<u32>>,
    /// How the base was held while the adapter was trained.
    pub held: Quantization,
}

impl ModelCard {
    /// One sentence, for a file's own description.
    pub fn description(&self) -> String {
        format!("{} fine-tuned into a text classifier with Ayar", self.base_model)
    }

    /// The whole README.md.
    pub fn render(&self, kind: ExportKind, usage: &Usage) -> String {
        let mut card = self.front_matter(kind);
        let base = self.shown_base();
        let _ = writeln!(card, "\n# {}\n", markdown(&self.name));
        let what = match kind {
            ExportKind::Adapter => format!("A LoRA adapter that turns {base} into a text classifier"),
            ExportKind::Safetensors | ExportKind::Gguf(_) => format!("{base}, fine-tuned into a text classifier"),
        };
        let labels: Vec<String> = usage.labels.iter().map(|label| format!("**{}**", markdown(label))).collect();
        let _ = writeln!(
            card,
            "{what}, made with Ayar. It chooses one of {} labels: {}. The label is what the model finds most probable \
             behind the prompt below; an answer outside the labels cannot be.\n",
            usage.labels.len(),
            labels.join(", ")
        );
        self.results(&mut card);
        how_to_use(&mut card, kind, &self.base_model, usage);
        self.training(&mut card);
        card
    }

    fn front_matter(&self, kind: ExportKind) -> String {
        let mut yaml = "---\n".to_string();
        if is_hub_address(&self.base_model) {
            let _ = writeln!(yaml, "base_model: {}", yaml_string(&self.base_model));
        }
        if let Some(licence) = &self.licence {
            let _ = writeln!(yaml, "license: {}", yaml_string(licence));
        }
        let (library, tags): (_, &[&str]) = match kind {
            ExportKind::Adapter => ("peft", &["ayar", "lora"]),
            ExportKind::Safetensors => ("transformers", &["ayar"]),
            ExportKind::Gguf(_) => ("gguf", &["ayar", "gguf"]),
        };
        let _ = writeln!(yaml, "library_name: {library}\npipeline_tag: text-classification\ntags:");
        for tag in tags {
            let _ = writeln!(yaml, "- {tag}");
        }
        if let Some(after) = &self.after {
            let dataset = self.dataset_name.as_deref().unwrap_or("test rows");
            let _ = write!(
                yaml,
                "model-index:\n- name: {}\n  results:\n  - task:\n      type: text-classification\n    dataset:\n      \
                 name: {}\n      type: custom\n    metrics:\n    - type: accuracy\n      value: {:.4}\n    - type: f1\n      \
                 name: Macro F1\n      value: {:.4}\n",
                yaml_string(&self.name),
                yaml_string(dataset),
                after.accuracy,
                after.macro_f1
            );
        }
        yaml + "---\n"
    }

    /// With its address where it has one.
    fn shown_base(&self) -> String {
        if is_hub_address(&self.base_model) {
            return format!("[{0}](https://huggingface.co/{0})", self.base_model);
        }
        markdown(&self.base_model)
    }

    fn results(&self, card: &mut String) {
        let Some(after) = &self.after else { return };
        let _ = writeln!(card, "## Results\n\nOn {} test rows:\n", after.rows());
        let before = self.before.as_ref();
        let _ = writeln!(card, "| | {}after training |", if before.is_some() { "before training | " } else { "" });
        let _ = writeln!(card, "|---|{}---:|", if before.is_some() { "---:|" } else { "" });
        let mut line = |name: &str, figure: fn(&Evaluation) -> f64| {
            let before = before.map(|before| format!("{:.3} | ", figure(before))).unwrap_or_default();
            let _ = writeln!(card, "| {name} | {before}{:.3} |", figure(after));
        };
        line("accuracy", |evaluation| evaluation.accuracy);
        line("macro F1", |evaluation| evaluation.macro_f1);
        line("log loss", |evaluation| evaluation.log_loss);
        let _ = writeln!(card, "\n| label | precision | recall | F1 | rows |\n|---|---:|---:|---:|---:|");
        for class in &after.classes {
            let name = markdown(&class.label);
            let _ = writeln!(
                card,
                "| {name} | {:.3} | {:.3} | {:.3} | {} |",
                class.precision, class.recall, class.f1, class.support
            );
        }
        let labels: Vec<String> = after.confusion.labels.iter().map(|label| markdown(label)).collect();
        let _ = writeln!(card, "\nTrue labels down, predicted labels across:\n\n| | {} |", labels.join(" | "));
        let _ = writeln!(card, "|---|{}", "---:|".repeat(labels.len()));
        for (label, counts) in labels.iter().zip(&after.confusion.counts) {
            let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
            let _ = writeln!(card, "| {label} | {} |", counts.join(" | "));
        }
        card.push('\n');
    }

    fn training(&self, card: &mut String) {
        let _ = writeln!(card, "## Training\n\n| | |\n|---|---|");
        let mut line = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                let _ = writeln!(card, "| {name} | {} |", markdown(&value));
            }
        };
        line("base model", Some(self.base_model.clone()));
        line("dataset", self.dataset_name.clone());
        line("hash of the dataset", self.dataset_hash.clone());
        line("training rows", self.train_rows.map(|rows| rows.to_string()));
        line("validation rows", self.validation_rows.map(|rows| rows.to_string()));
        line("test rows", self.test_rows.map(|rows| rows.to_string()));
        if let Some(recipe) = &self.recipe {
            for knob in KNOBS.iter().filter(|knob| !KNOBS_LEFT_OUT.contains(&knob.name)) {
                line(&knob.name.replace('_', "\\_"), recipe.get(knob.name));
            }
        }
    }
}

/// A program that gives the probabilities of the labels, to be copied as it is.
fn how_to_use(card: &mut String, kind: ExportKind, base_model: &str, usage: &Usage) {
    let Usage { labels, prompt, bos, use_chat_template, answers, held } = usage;
    let whole = format!("{}{{text}}{}", prompt.before, prompt.after);
    let fence = fence_around(&whole);
    let inside = if *use_chat_template { ", as the user's message in the model's chat template" } else { "" };
    let _ = writeln!(card, "## How to use it\n\nThe prompt, with the text in the place of `{{text}}`{inside}:\n");
    let _ = writeln!(card, "{fence}\n{whole}\n{fence}\n");
    if matches!(kind, ExportKind::Gguf(_)) {
        return;
    }
    let (imports, model) = match kind {
        ExportKind::Adapter => (
            "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer",
            format!(
                "model = AutoModelForCausalLM.from_pretrained({}, dtype=torch.float32)\n\
                 model = PeftModel.from_pretrained(model, folder)",
                code_string(base_model)
            ),
        ),
        _ => (
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)".to_string(),
        ),
    };
    let answers: Vec<String> =
        labels.iter().zip(answers).map(|(label, tokens)| format!("{}: {tokens:?}", code_string(label))).collect();
    let as_held = match (kind, held) {
        (ExportKind::Adapter, Quantization::Nf4) => HOLD_AS_NF4,
        (ExportKind::Adapter, Quantization::Nf4DoubleQuant) => HOLD_AS_DOUBLE_NF4,
        _ => "",
    };
    let encode = match bos {
        _ if *use_chat_template => ENCODE_AS_MESSAGE.to_string(),
        Some(bos) => format!("prompt = [{bos}] + {ENCODE}"),
        None => format!("prompt = {ENCODE}"),
    };
    let _ = writeln!(
        card,
        "```python\n\
         import torch\n\
         {imports}\n\
         \n\
         folder = \".\"  # where this card lies, or its address on the Hub\n\
         answers = {{{answers}}}  # each label's tokens behind the prompt\n\
         before, after = {before}, {after}\n\
         tokenizer = AutoTokenizer.from_pretrained(folder)\n\
         {as_held}{model}\n\
         \n\
         def classify(text):\n    \
             {encode}\n    \
             scores = []\n    \
             for answer in answers.values():\n        \
                 with torch.no_grad():\n            \
                     logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].float()\n        \
                 scores.append(logits.log_softmax(-1)[range(len(answer)), answer].sum())\n    \
             return dict(zip(answers, torch.stack(scores).softmax(0).tolist()))\n\
         \n\
         print(classify(\"A text.\"))\n\
         ```\n",
        answers = answers.join(", "),
        before = code_string(&prompt.before),
        after = code_string(&prompt.after),
    );
}

/// `owner/name`, in the characters that the Hub allows.
fn is_hub_address(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part.len() <= 96
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    name.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
}

/// Words that are words in Markdown, in a paragraph or a cell of a table.
fn markdown(words: &str) -> String {
    let mut escaped = String::with_capacity(words.len());
    for character in words.chars() {
        match character {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '&' | '#' | '$' | '!' | ':' | '@' => {
                escaped.push('\\');
                escaped.push(character);
            }
            character if character.is_control() || is_line_break(character) => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    // Addresses without a scheme become links, too.
    escaped.replace("www.", "www\\.")
}

fn is_line_break(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}')
}

/// A double-quoted scalar: of everything but printable characters only the number stands there.
fn yaml_string(words: &str) -> String {
    let mut quoted = "\"".to_string();
    for character in words.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            character if character.is_control() || is_line_break(character) || character == '\u{FEFF}' => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(character));
            }
            character => quoted.push(character),
        }
    }
    quoted + "\""
}

/// A string literal on one line, as Python and JSON both read it.
fn code_string(words: &str) -> String {
    let mut quoted = "\"".to_string();
    for character in words.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            '\n' => quoted.push_str("\\n"),
            character if character.is_control() || is_line_break(character) => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(character));
            }
            character => quoted.push(character),
        }
    }
    quoted + "\""
}

/// More backticks than stand anywhere in the words in a row.
fn fence_around(words: &str) -> String {
    let longest = words.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat((longest + 1).max(3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::prediction::Prediction;
    use domain::template::PromptTemplate;

    fn card(labels: &[&str]) -> (ModelCard, Usage) {
        let labels: Vec<String> = labels.iter().map(|label| label.to_string()).collect();
        let predictions = vec![Prediction::from_probabilities(vec![0.75, 0.25], false); 2];
        let evaluation = Evaluation::from_predictions(&labels, &[0, 1], &predictions, 1.0);
        let card = ModelCard {
            name: "Headlines".to_string(),
            base_model: "meta-llama/Llama-3.2-1B".to_string(),
            dataset_name: Some("headlines".to_string()),
            train_rows: Some(900),
            recipe: Some(TrainSpec::small_base()),
            before: Some(evaluation.clone()),
            after: Some(evaluation),
            ..ModelCard::default()
        };
        let prompt = PromptTemplate::parse("Is it {labels}?\n\"{text}\" =").unwrap().render(&labels);
        let answers = vec![vec![3], vec![4, 5]];
        (card, Usage { labels, prompt, bos: Some(1), use_chat_template: false, answers, held: Quantization::Nf4 })
    }

    #[test]
    fn the_card_tells_results_recipe_and_use() {
        let (card, usage) = card(&["up", "down"]);
        let adapter = card.render(ExportKind::Adapter, &usage);
        for words in [
            "base_model: \"meta-llama/Llama-3.2-1B\"\n",
            "library_name: peft\n",
            "pipeline_tag: text-classification\n",
            "- type: accuracy\n      value: 0.5000\n",
            "| accuracy | 0.500 | 0.500 |",
            "| up | 0.500 | 1.000 | 0.667 | 1 |",
            "| down | 1 | 0 |",
            "| learning\\_rate | ",
            "| seed | 42 |",
            "PeftModel.from_pretrained(model, folder)",
            "before, after = \"Is it up or down?\\n\\\"\", \"\\\" =\"",
            "    prompt = [1] + tokenizer(before",
            "answers = {\"up\": [3], \"down\": [4, 5]}",
            "bnb_4bit_quant_type=\"nf4\")",
        ] {
            assert!(adapter.contains(words), "{words} is not in\n{adapter}");
        }
        assert!(!adapter.contains("license"), "nobody has said under which licence");
        let merged = card.render(ExportKind::Safetensors, &usage);
        assert!(
            merged.contains("library_name: transformers\n")
                && !merged.contains("PeftModel")
                && !merged.contains("BitsAndBytes")
        );
        let in_chat = card.render(ExportKind::Adapter, &Usage { use_chat_template: true, ..usage.clone() });
        assert!(in_chat.contains("    words = tokenizer.apply_chat_template(messages"), "{in_chat}");
        let licensed = ModelCard { licence: Some("apache-2.0".to_string()), ..card };
        assert!(licensed.render(ExportKind::Adapter, &usage).contains("license: \"apache-2.0\"\n"));
    }

    #[test]
    fn what_people_typed_is_only_words() {
        let label = "a|b\n---\nlicense: mit <img src=x> ``` \"\\";
        let (mut card, usage) = card(&[label, "[x](http://x)"]);
        card.name = "x\"\n---\nlicense: mit".to_string();
        card.base_model = "../secret | file".to_string();
        let text = card.render(ExportKind::Adapter, &usage);
        let front: Vec<&str> = text.split("---\n").collect();
        assert!(!front[1].contains("\nlicense"), "{text}");
        assert!(front[1].contains("name: \"x\\\"\\u000A---\\u000Alicense: mit\""), "{}", front[1]);
        assert!(!front[1].contains("base_model"), "no address on the Hub");
        // Every row of the tables of labels has the cells that it should have.
        let rows = text.lines().filter(|line| line.starts_with("| a\\|b"));
        let cells: Vec<usize> = rows.map(|line| line.replace("\\|", "").matches('|').count()).collect();
        assert_eq!(cells, [6, 4]);
        let code = text.split("```python\n").nth(1).unwrap().split("\n```").next().unwrap();
        assert!(
            code.contains(r#"answers = {"a|b\n---\nlicense: mit <img src=x> ``` \"\\": [3], "[x](http://x)": [4, 5]}"#),
            "{code}"
        );
        assert!(code.ends_with("print(classify(\"A text.\"))"), "{code}");
    }

    #[test]
    fn a_fence_is_longer_than_what_it_holds() {
        assert_eq!(fence_around("plain"), "```");
        assert_eq!(fence_around("a ```` b `"), "`````");
    }
}
