use crate::api::exports::StartExport;
use crate::components::{Button, ButtonKind, ErrorNotice, Field};
use crate::format;
use domain::export::{ExportKind, GgufType, MergeInto};
use domain::model::BaseModelInfo;
use domain::run::RunId;
use domain::spec::{TargetModule, TrainSpec};
use leptos::prelude::*;

/// Chooses what to write. The way of merging is shown by the style sheet for whole models only, so that the choice
/// works without a script.
#[component]
pub fn ExportForm(
    run: RunId,
    start: ServerAction<StartExport>,
    spec: TrainSpec,
    base: Option<BaseModelInfo>,
) -> impl IntoView {
    let kinds = ExportKind::ALL
        .into_iter()
        .map(|kind| {
            let size = base.as_ref().map(|base| format!("about {}", format::bytes(bytes_of(kind, base, &spec))));
            view! {
                <label class="export-kind">
                    <input type="radio" name="kind" value=kind.as_str() checked=kind == ExportKind::Adapter />
                    <span class="export-kind-words">
                        <strong>{title(kind)}</strong>
                        <span class="soft small">{help(kind)}</span>
                        {size.map(|size| view! { <span class="small number">{size}</span> })}
                    </span>
                </label>
            }
        })
        .collect_view();
    let ways = MergeInto::ALL
        .into_iter()
        .map(|into| view! { <option value=into.as_str()>{merge_title(into)}</option> })
        .collect_view();
    let refused = move || start.value().get().and_then(Result::err);
    view! {
        <ActionForm action=start attr:class="stack export-form">
            <input type="hidden" name="run" value=run.to_string() />
            <fieldset class="export-kinds">
                <legend class="visually-hidden">"What to take with you"</legend>
                {kinds}
            </fieldset>
            <div class="export-merge">
                <Field
                    label="Merge into the weights"
                    id="export-merge"
                    help="As trained: the weights as the run held them, in 4 bits if it did; the file answers as the run did. As stored: the base's own weights, closer to the original, but the answers may shift a little."
                >
                    <select class="select" id="export-merge" name="merge_into" aria-describedby="export-merge-help">
                        {ways}
                    </select>
                </Field>
            </div>
            <div class="row">
                <Button type_="submit" kind=ButtonKind::Primary pending=start.pending()>
                    "Export"
                </Button>
            </div>
            {move || refused().map(|error| view! { <ErrorNotice error /> })}
        </ActionForm>
    }
    .into_any()
}

pub fn title(kind: ExportKind) -> &'static str {
    match kind {
        ExportKind::Adapter => "Adapter alone (PEFT)",
        ExportKind::Safetensors => "Whole model (safetensors)",
        ExportKind::Gguf(GgufType::F16) => "Whole model (GGUF, F16)",
        ExportKind::Gguf(GgufType::Q8_0) => "Whole model (GGUF, Q8_0)",
        ExportKind::Gguf(GgufType::Q4K) => "Whole model (GGUF, Q4_K)",
    }
}

/// Which programs load it, and what is to be known of it.
fn help(kind: ExportKind) -> &'static str {
    match kind {
        ExportKind::Adapter => "What training has learnt, without the base. For Python's PEFT, and for Ayar.",
        ExportKind::Safetensors => "Base and adapter in one, in 16 bits. For Transformers and vLLM.",
        ExportKind::Gguf(GgufType::F16) => "One file for llama.cpp, Ollama and LM Studio, in 16 bits: nothing is lost.",
        ExportKind::Gguf(GgufType::Q8_0) => "One file for the same programs, half as large, nearly the same answers.",
        ExportKind::Gguf(GgufType::Q4K) => "One file for the same programs, the smallest; answers shift a little.",
    }
}

pub fn merge_title(into: MergeInto) -> &'static str {
    match into {
        MergeInto::AsTrained => "as trained",
        MergeInto::AsStored => "as stored",
    }
}

/// How large it will be, about: the weights without the few bytes that describe them.
fn bytes_of(kind: ExportKind, base: &BaseModelInfo, spec: &TrainSpec) -> f64 {
    let parameters = base.parameters as f64;
    match kind {
        // In f32.
        ExportKind::Adapter => 4.0 * lora_parameters(base, spec),
        ExportKind::Safetensors | ExportKind::Gguf(GgufType::F16) => 2.0 * parameters,
        ExportKind::Gguf(GgufType::Q8_0) => 8.5 / 8.0 * parameters,
        // Most values take 4.5 bits and the most sensitive 6.6.
        ExportKind::Gguf(GgufType::Q4K) => 4.9 / 8.0 * parameters,
    }
}

/// A: r x in, B: out x r, for every target of every layer.
fn lora_parameters(base: &BaseModelInfo, spec: &TrainSpec) -> f64 {
    let queries = base.num_attention_heads * base.head_dim;
    let keys = base.num_key_value_heads * base.head_dim;
    let sides = |module: &TargetModule| match module {
        TargetModule::QProj | TargetModule::OProj => base.hidden_size + queries,
        TargetModule::KProj | TargetModule::VProj => base.hidden_size + keys,
        TargetModule::GateProj | TargetModule::UpProj | TargetModule::DownProj => {
            base.hidden_size + base.intermediate_size
        }
    };
    let of_a_layer: usize = spec.target_modules.iter().map(sides).sum();
    spec.r as f64 * of_a_layer as f64 * base.num_hidden_layers as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Llama 3 8B with rank 64 on all seven projections: 167,772,160 parameters, as PEFT's
    /// `print_trainable_parameters` counts them.
    #[test]
    fn an_adapter_is_as_large_as_its_two_sides() {
        let base = BaseModelInfo {
            name: "llama-3-8b".into(),
            architecture: "llama".into(),
            parameters: 8_030_261_248,
            hidden_size: 4096,
            intermediate_size: 14_336,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: 8,
            head_dim: 128,
            vocab_size: 128_256,
            context_length: 8192,
        };
        assert_eq!(lora_parameters(&base, &TrainSpec::default()), 167_772_160.0);
        assert_eq!(bytes_of(ExportKind::Adapter, &base, &TrainSpec::default()), 671_088_640.0);
    }
}
