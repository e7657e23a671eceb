//! Every knob of a run: its name (PEFT's and TRL's), meaning, default, range and check.
//!
//! [`KNOBS`] is the one list. The form in the browser, the command line and the check all read it, so a knob can
//! not exist in one of them and not in the others.

use crate::class_weights::ClassWeights;
use crate::error::UserError;
use crate::template::PromptTemplate;
use serde::{Deserialize, Serialize};

/// A linear layer of a Llama block that can carry a LoRA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetModule {
    QProj,
    KProj,
    VProj,
    OProj,
    GateProj,
    UpProj,
    DownProj,
}

impl TargetModule {
    pub const ALL: [Self; 7] =
        [Self::QProj, Self::KProj, Self::VProj, Self::OProj, Self::GateProj, Self::UpProj, Self::DownProj];

    /// PEFT's name, such as `q_proj`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QProj => "q_proj",
            Self::KProj => "k_proj",
            Self::VProj => "v_proj",
            Self::OProj => "o_proj",
            Self::GateProj => "gate_proj",
            Self::UpProj => "up_proj",
            Self::DownProj => "down_proj",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|module| module.as_str() == name)
    }

    /// What attention is computed from; some families have biases there.
    pub fn is_query_key_or_value(self) -> bool {
        matches!(self, Self::QProj | Self::KProj | Self::VProj)
    }
}

/// How the frozen linear layers are held in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantization {
    /// 4-bit NormalFloat in blocks of 64, as QLoRA.
    Nf4,
    /// The same with the block scales quantised to 8 bits as well.
    Nf4DoubleQuant,
    /// As the file has them.
    AsStored,
}

/// How the learning rate moves after warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrSchedulerType {
    Cosine,
    Linear,
    Constant,
}

/// The recipe of a run. Field names are those of `peft.LoraConfig`, `transformers.TrainingArguments` and
/// `trl.SFTConfig`; the defaults are the notebook's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainSpec {
    pub prompt_template: PromptTemplate,
    /// Puts the prompt into the model's own chat template.
    pub use_chat_template: bool,
    pub r: u64,
    pub lora_alpha: f64,
    pub lora_dropout: f64,
    pub target_modules: Vec<TargetModule>,
    pub quantization: Quantization,
    pub num_train_epochs: u64,
    pub per_device_train_batch_size: u64,
    pub gradient_accumulation_steps: u64,
    pub learning_rate: f64,
    pub lr_scheduler_type: LrSchedulerType,
    pub warmup_ratio: f64,
    pub weight_decay: f64,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_epsilon: f64,
    pub max_grad_norm: f64,
    pub max_length: u64,
    pub completion_only_loss: bool,
    /// The weight of every row in the loss, by its label.
    pub class_weights: ClassWeights,
    /// An epoch draws every label equally often: rows of rare labels come several times, and of frequent ones not all.
    pub balanced_sampling: bool,
    /// Training rows of one label that are used at the most; 0: all.
    pub max_rows_per_label: u64,
    pub per_device_eval_batch_size: u64,
    /// Optimiser steps between two looks at the validation rows; 0: once at the end of every epoch.
    pub eval_steps: u64,
    /// Looks at the validation rows without a better macro-F1 after which training stops; 0: never.
    pub early_stopping_patience: u64,
    /// Optimiser steps between two checkpoints; 0: once at the end of every epoch.
    pub save_steps: u64,
    pub seed: u64,
}

impl Default for TrainSpec {
    fn default() -> Self {
        Self {
            prompt_template: PromptTemplate::default(),
            use_chat_template: false,
            r: 64,
            lora_alpha: 16.0,
            lora_dropout: 0.0,
            target_modules: TargetModule::ALL.to_vec(),
            quantization: Quantization::Nf4,
            num_train_epochs: 5,
            per_device_train_batch_size: 1,
            gradient_accumulation_steps: 8,
            learning_rate: 2e-4,
            lr_scheduler_type: LrSchedulerType::Cosine,
            warmup_ratio: 0.03,
            weight_decay: 0.001,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            max_grad_norm: 0.3,
            max_length: 512,
            completion_only_loss: false,
            class_weights: ClassWeights::None,
            balanced_sampling: false,
            max_rows_per_label: 0,
            per_device_eval_batch_size: 32,
            eval_steps: 0,
            early_stopping_patience: 0,
            save_steps: 0,
            seed: 42,
        }
    }
}

/// Where the form shows a knob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnobGroup {
    /// Always in sight.
    Main,
    /// Folded away until asked for.
    More,
}

/// What a knob can be set to. Bounds are inclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KnobKind {
    Integer {
        min: u64,
        max: u64,
    },
    Number {
        min: f64,
        max: f64,
    },
    Choice(&'static [&'static str]),
    Switch,
    /// A comma-separated list of target modules.
    Modules,
    /// `none`, `balanced`, or a list such as `spam=2,ham=0.5`.
    ClassWeights,
    /// The prompt template.
    Template,
}

/// One knob, as forms, help texts and checks need it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knob {
    /// PEFT's or TRL's name.
    pub name: &'static str,
    /// For the form.
    pub title: &'static str,
    /// One sentence for a person who does not know the name.
    pub help: &'static str,
    pub group: KnobGroup,
    pub kind: KnobKind,
}

use KnobGroup::{Main, More};

const fn integer(min: u64, max: u64) -> KnobKind {
    KnobKind::Integer { min, max }
}

const fn number(min: f64, max: f64) -> KnobKind {
    KnobKind::Number { min, max }
}

const fn knob(name: &'static str, title: &'static str, group: KnobGroup, kind: KnobKind, help: &'static str) -> Knob {
    Knob { name, title, help, group, kind }
}

pub const KNOBS: &[Knob] = &[
    knob("num_train_epochs", "Epochs", Main, integer(1, 100), "Times the training goes through all training rows."),
    knob("learning_rate", "Learning rate", Main, number(1e-7, 1.0), "How far one step moves the adapter."),
    knob("r", "LoRA rank", Main, integer(1, 512), "Width of the adapter: more can learn more, and needs more memory."),
    knob(
        "lora_alpha",
        "LoRA alpha",
        Main,
        number(0.01, 4096.0),
        "Strength of the adapter; its output is scaled by alpha / rank.",
    ),
    knob(
        "per_device_train_batch_size",
        "Batch size",
        Main,
        integer(1, 1024),
        "Rows that go through the model together.",
    ),
    knob(
        "gradient_accumulation_steps",
        "Accumulation",
        Main,
        integer(1, 1024),
        "Batches whose gradients are added up before one step is taken.",
    ),
    knob(
        "completion_only_loss",
        "Learn from the label only",
        Main,
        KnobKind::Switch,
        "On: only the label's tokens carry loss. Off: the model also learns to write the prompt, as in the notebook.",
    ),
    knob(
        "quantization",
        "Frozen weights",
        Main,
        KnobKind::Choice(&["nf4", "nf4_double_quant", "as_stored"]),
        "How the base is held in memory: 4-bit as in QLoRA, 4-bit with quantised scales, or as the file has it.",
    ),
    knob(
        "lr_scheduler_type",
        "Schedule",
        More,
        KnobKind::Choice(&["cosine", "linear", "constant"]),
        "How the learning rate falls after the warm-up.",
    ),
    knob(
        "warmup_ratio",
        "Warm-up",
        More,
        number(0.0, 0.9),
        "Share of all steps over which the learning rate rises from zero.",
    ),
    knob("weight_decay", "Weight decay", More, number(0.0, 1.0), "Pull of the adapter's weights towards zero (AdamW)."),
    knob("adam_beta1", "Adam beta 1", More, number(0.0, 0.9999), "Memory of the gradient's mean."),
    knob("adam_beta2", "Adam beta 2", More, number(0.0, 0.99999), "Memory of the gradient's square."),
    knob("adam_epsilon", "Adam epsilon", More, number(1e-12, 1e-2), "Keeps the division in Adam finite."),
    knob(
        "max_grad_norm",
        "Gradient clipping",
        More,
        number(0.0, 1000.0),
        "Longest gradient that is let through; 0 lets all through.",
    ),
    knob(
        "lora_dropout",
        "LoRA dropout",
        More,
        number(0.0, 0.9),
        "Share of the adapter's inputs that is dropped at random in training.",
    ),
    knob("target_modules", "LoRA on", More, KnobKind::Modules, "The linear layers that get an adapter."),
    knob(
        "max_length",
        "Longest row, in tokens",
        More,
        integer(16, 131_072),
        "Longer texts are cut at their end; the instruction and the label are always kept.",
    ),
    knob(
        "class_weights",
        "Class weights",
        More,
        KnobKind::ClassWeights,
        "How much a row counts in the loss: none, balanced (the rarer its label, the more), or a weight per label.",
    ),
    knob(
        "balanced_sampling",
        "Balanced sampling",
        More,
        KnobKind::Switch,
        "On: an epoch shows every label equally often, repeating rows of rare labels and leaving out some of frequent ones.",
    ),
    knob(
        "max_rows_per_label",
        "Most training rows per label",
        More,
        integer(0, 1_000_000_000),
        "More rows of one label are left out of training; 0: all are used. Validation and test stay as they are.",
    ),
    knob("per_device_eval_batch_size", "Scoring batch size", More, integer(1, 1024), "Rows scored together."),
    knob("eval_steps", "Validate every (steps)", More, integer(0, 1_000_000), "0: at the end of every epoch."),
    knob(
        "early_stopping_patience",
        "Stop early after",
        More,
        integer(0, 1000),
        "Looks at the validation rows without a better macro-F1 before training stops; 0: never.",
    ),
    knob("save_steps", "Checkpoint every (steps)", More, integer(0, 1_000_000), "0: at the end of every epoch."),
    knob("seed", "Seed", More, integer(0, u32::MAX as u64), "Same seed, same data, same machine: same result."),
    knob(
        "prompt_template",
        "Prompt",
        More,
        KnobKind::Template,
        "The words around a text: {text} is replaced by it and {labels} by the list of labels.",
    ),
    knob(
        "use_chat_template",
        "Speak as in a chat",
        More,
        KnobKind::Switch,
        "On: the prompt goes into the model's own chat template, which instruction-tuned models were trained with.",
    ),
];

/// The knob of that name.
pub fn find_knob(name: &str) -> Option<&'static Knob> {
    KNOBS.iter().find(|knob| knob.name == name)
}

impl TrainSpec {
    /// A recipe for a base of some ten million parameters on a CPU: a higher learning rate, a batch that keeps the
    /// processor busy, loss on the label alone.
    pub fn small_base() -> Self {
        Self {
            r: 16,
            lora_alpha: 32.0,
            learning_rate: 1e-3,
            per_device_train_batch_size: 16,
            gradient_accumulation_steps: 1,
            completion_only_loss: true,
            ..Self::default()
        }
    }

    /// A knob's value in the words of the command line and the form.
    pub fn get(&self, name: &str) -> Option<String> {
        Some(match name {
            "prompt_template" => self.prompt_template.as_str().to_string(),
            "use_chat_template" => self.use_chat_template.to_string(),
            "r" => self.r.to_string(),
            "lora_alpha" => self.lora_alpha.to_string(),
            "lora_dropout" => self.lora_dropout.to_string(),
            "target_modules" => self.target_modules.iter().map(|module| module.as_str()).collect::<Vec<_>>().join(","),
            "quantization" => match self.quantization {
                Quantization::Nf4 => "nf4",
                Quantization::Nf4DoubleQuant => "nf4_double_quant",
                Quantization::AsStored => "as_stored",
            }
            .to_string(),
            "num_train_epochs" => self.num_train_epochs.to_string(),
            "per_device_train_batch_size" => self.per_device_train_batch_size.to_string(),
            "gradient_accumulation_steps" => self.gradient_accumulation_steps.to_string(),
            "learning_rate" => scientific(self.learning_rate),
            "lr_scheduler_type" => match self.lr_scheduler_type {
                LrSchedulerType::Cosine => "cosine",
                LrSchedulerType::Linear => "linear",
                LrSchedulerType::Constant => "constant",
            }
            .to_string(),
            "warmup_ratio" => self.warmup_ratio.to_string(),
            "weight_decay" => self.weight_decay.to_string(),
            "adam_beta1" => self.adam_beta1.to_string(),
            "adam_beta2" => self.adam_beta2.to_string(),
            "adam_epsilon" => scientific(self.adam_epsilon),
            "max_grad_norm" => self.max_grad_norm.to_string(),
            "max_length" => self.max_length.to_string(),
            "completion_only_loss" => self.completion_only_loss.to_string(),
            "class_weights" => self.class_weights.to_string(),
            "balanced_sampling" => self.balanced_sampling.to_string(),
            "max_rows_per_label" => self.max_rows_per_label.to_string(),
            "per_device_eval_batch_size" => self.per_device_eval_batch_size.to_string(),
            "eval_steps" => self.eval_steps.to_string(),
            "early_stopping_patience" => self.early_stopping_patience.to_string(),
            "save_steps" => self.save_steps.to_string(),
            "seed" => self.seed.to_string(),
            _ => return None,
        })
    }

    /// Sets a knob from words, after checking them against the knob's kind and range.
    ///
    /// # Errors
    /// No such knob, words that are no such value, or a value out of range; the message names the knob, the range
    /// and what was given.
    pub fn set(&mut self, name: &str, words: &str) -> Result<(), UserError> {
        let Some(knob) = find_knob(name) else {
            return Err(UserError::invalid(format!("There is no setting called \"{name}\".")));
        };
        let value = knob.read(words)?;
        match (name, value) {
            ("prompt_template", Value::Template(template)) => self.prompt_template = template,
            ("target_modules", Value::Modules(modules)) => self.target_modules = modules,
            ("completion_only_loss", Value::Switch(on)) => self.completion_only_loss = on,
            ("class_weights", Value::ClassWeights(weights)) => self.class_weights = weights,
            ("balanced_sampling", Value::Switch(on)) => self.balanced_sampling = on,
            ("use_chat_template", Value::Switch(on)) => self.use_chat_template = on,
            ("quantization", Value::Choice(index)) => {
                self.quantization = [Quantization::Nf4, Quantization::Nf4DoubleQuant, Quantization::AsStored][index];
            }
            ("lr_scheduler_type", Value::Choice(index)) => {
                self.lr_scheduler_type =
                    [LrSchedulerType::Cosine, LrSchedulerType::Linear, LrSchedulerType::Constant][index];
            }
            (_, Value::Integer(value)) => *self.integer_mut(name) = value,
            (_, Value::Number(value)) => *self.number_mut(name) = value,
            (name, value) => unreachable!("knob {name} reads as {value:?}"),
        }
        Ok(())
    }

    fn integer_mut(&mut self, name: &str) -> &mut u64 {
        match name {
            "r" => &mut self.r,
            "num_train_epochs" => &mut self.num_train_epochs,
            "per_device_train_batch_size" => &mut self.per_device_train_batch_size,
            "gradient_accumulation_steps" => &mut self.gradient_accumulation_steps,
            "max_length" => &mut self.max_length,
            "max_rows_per_label" => &mut self.max_rows_per_label,
            "per_device_eval_batch_size" => &mut self.per_device_eval_batch_size,
            "eval_steps" => &mut self.eval_steps,
            "early_stopping_patience" => &mut self.early_stopping_patience,
            "save_steps" => &mut self.save_steps,
            "seed" => &mut self.seed,
            _ => unreachable!("{name} is no whole-number knob"),
        }
    }

    fn number_mut(&mut self, name: &str) -> &mut f64 {
        match name {
            "lora_alpha" => &mut self.lora_alpha,
            "lora_dropout" => &mut self.lora_dropout,
            "learning_rate" => &mut self.learning_rate,
            "warmup_ratio" => &mut self.warmup_ratio,
            "weight_decay" => &mut self.weight_decay,
            "adam_beta1" => &mut self.adam_beta1,
            "adam_beta2" => &mut self.adam_beta2,
            "adam_epsilon" => &mut self.adam_epsilon,
            "max_grad_norm" => &mut self.max_grad_norm,
            _ => unreachable!("{name} is no number knob"),
        }
    }

    /// The check that the form, the server and the command line share: every knob within its range.
    pub fn check(&self) -> Result<(), UserError> {
        for knob in KNOBS {
            // `get` knows every knob of the list; a test holds it to that.
            knob.read(&self.get(knob.name).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Rows whose gradients make up one optimiser step.
    pub fn rows_per_step(&self) -> u64 {
        self.per_device_train_batch_size * self.gradient_accumulation_steps
    }
}

/// A value that has been read and found within its knob's range.
#[derive(Debug)]
enum Value {
    Integer(u64),
    Number(f64),
    Choice(usize),
    Switch(bool),
    Modules(Vec<TargetModule>),
    ClassWeights(ClassWeights),
    Template(PromptTemplate),
}

impl Knob {
    /// Whether words would be accepted for this knob.
    pub fn check(&self, words: &str) -> Result<(), UserError> {
        self.read(words).map(|_| ())
    }

    fn read(&self, words: &str) -> Result<Value, UserError> {
        let Self { name, title, .. } = self;
        let given = words.trim();
        match self.kind {
            KnobKind::Integer { min, max } => match given.parse::<u64>() {
                Ok(value) if (min..=max).contains(&value) => Ok(Value::Integer(value)),
                _ => Err(UserError::invalid(format!(
                    "{title} ({name}) must be a whole number from {min} to {max}; \"{given}\" is not."
                ))),
            },
            KnobKind::Number { min, max } => match given.parse::<f64>() {
                Ok(value) if value.is_finite() && (min..=max).contains(&value) => Ok(Value::Number(value)),
                _ => Err(UserError::invalid(format!(
                    "{title} ({name}) must be a number from {} to {}; \"{given}\" is not.",
                    scientific(min),
                    scientific(max)
                ))),
            },
            KnobKind::Choice(choices) => match choices.iter().position(|choice| *choice == given) {
                Some(index) => Ok(Value::Choice(index)),
                None => Err(UserError::invalid(format!(
                    "{title} ({name}) must be one of {}; \"{given}\" is not.",
                    choices.join(", ")
                ))),
            },
            KnobKind::Switch => match given {
                "true" | "on" => Ok(Value::Switch(true)),
                "false" | "off" | "" => Ok(Value::Switch(false)),
                _ => {
                    Err(UserError::invalid(format!("{title} ({name}) must be true or false; \"{given}\" is neither.")))
                }
            },
            KnobKind::Modules => read_modules(title, name, given).map(Value::Modules),
            KnobKind::ClassWeights => ClassWeights::parse(given)
                .map(Value::ClassWeights)
                .map_err(|error| UserError::invalid(format!("{title} ({name}): {}", error.message))),
            // Not trimmed: white space in a template is the person's own.
            KnobKind::Template => PromptTemplate::parse(words).map(Value::Template),
        }
    }
}

fn read_modules(title: &str, name: &str, given: &str) -> Result<Vec<TargetModule>, UserError> {
    if given == "all-linear" {
        return Ok(TargetModule::ALL.to_vec());
    }
    let mut modules = Vec::new();
    for word in given.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let Some(module) = TargetModule::parse(word) else {
            let known: Vec<_> = TargetModule::ALL.iter().map(|module| module.as_str()).collect();
            return Err(UserError::invalid(format!(
                "{title} ({name}) knows {} and all-linear; \"{word}\" is none of them.",
                known.join(", ")
            )));
        };
        modules.push(module);
    }
    modules.sort_unstable();
    modules.dedup();
    if modules.is_empty() {
        return Err(UserError::invalid(format!("{title} ({name}) needs at least one layer, such as q_proj.")));
    }
    Ok(modules)
}

/// Small and large numbers the way people of the field write them: `2e-4`, not `0.0002`.
pub fn scientific(value: f64) -> String {
    if value != 0.0 && (value.abs() < 1e-2 || value.abs() >= 1e6) { format!("{value:e}") } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_knob_reads_back_what_it_shows() {
        for spec in [TrainSpec::default(), TrainSpec::small_base()] {
            spec.check().unwrap();
            let mut copy = TrainSpec::default();
            for knob in KNOBS {
                copy.set(knob.name, &spec.get(knob.name).expect(knob.name)).unwrap();
            }
            assert_eq!(copy, spec);
        }
    }

    #[test]
    fn every_field_is_a_knob() {
        let json = serde_json::to_value(TrainSpec::default()).unwrap();
        let mut fields: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let mut knobs: Vec<_> = KNOBS.iter().map(|knob| knob.name).collect();
        fields.sort_unstable();
        knobs.sort_unstable();
        assert_eq!(fields, knobs);
    }

    #[test]
    fn out_of_range_and_nonsense_name_the_knob_and_what_was_given() {
        let mut spec = TrainSpec::default();
        for (name, words) in [
            ("r", "0"),
            ("r", "-1"),
            ("r", "sixteen"),
            ("learning_rate", "NaN"),
            ("learning_rate", "inf"),
            ("learning_rate", "2"),
            ("warmup_ratio", "1.0"),
            ("quantization", "int8"),
            ("target_modules", "q_proj,lm_head"),
            ("target_modules", ""),
            ("completion_only_loss", "maybe"),
            ("class_weights", "a=0"),
            ("max_rows_per_label", "-1"),
        ] {
            let error = spec.set(name, words).unwrap_err();
            assert!(error.message.contains(name), "{error}");
        }
        assert!(spec.set("no_such", "1").is_err());
        assert_eq!(spec, TrainSpec::default());
        let outside = TrainSpec { learning_rate: f64::INFINITY, ..TrainSpec::default() };
        assert!(outside.check().is_err());
    }

    #[test]
    fn modules_are_a_set() {
        let mut spec = TrainSpec::default();
        spec.set("target_modules", " v_proj, q_proj,v_proj ").unwrap();
        assert_eq!(spec.target_modules, [TargetModule::QProj, TargetModule::VProj]);
        spec.set("target_modules", "all-linear").unwrap();
        assert_eq!(spec.target_modules, TargetModule::ALL);
    }
}
