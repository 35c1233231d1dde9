//! A `config.json` as Transformers writes it, as far as it is wanted. Pure.

use serde::Deserialize;
use serde_json::Value;

use super::HeaderError;

/// What is wanted of a `config.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// The first of `architectures`.
    pub architecture: Option<String>,
    /// `quantization_config.quant_method`; `mlx` for what MLX writes.
    pub quantisation: Option<String>,
    /// `torch_dtype`, `dtype` in newer files.
    pub dtype: Option<String>,
    /// `max_position_embeddings`, in tokens.
    pub context_length: Option<u64>,
}

/// The keys, each of whatever type: other programs write this file too.
#[derive(Deserialize)]
struct Wire {
    architectures: Option<Value>,
    quantization_config: Option<Value>,
    /// MLX's own key; Transformers has none of that name.
    quantization: Option<Value>,
    torch_dtype: Option<Value>,
    dtype: Option<Value>,
    max_position_embeddings: Option<Value>,
    /// Multimodal models keep the language model's keys in here.
    text_config: Option<Value>,
}

impl Config {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// It is no JSON object.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let wire: Wire = serde_json::from_slice(bytes)
            .map_err(|error| HeaderError::broken(error.to_string()))?;
        let inner = |key: &str| wire.text_config.as_ref().and_then(|text| text.get(key));
        let word = |value: Option<&Value>| value.and_then(Value::as_str).and_then(plain);
        let method = |value: Option<&Value>| word(value.and_then(|map| map.get("quant_method")));
        let outer = wire.quantization_config.as_ref();
        let mlx = wire.quantization.as_ref().filter(|value| value.is_object());
        let dtype = wire.torch_dtype.as_ref().or(wire.dtype.as_ref());
        let length = wire.max_position_embeddings.as_ref();
        Ok(Self {
            architecture: word(wire.architectures.as_ref().and_then(|all| all.get(0))),
            quantisation: method(outer)
                .or_else(|| method(inner("quantization_config")))
                .or_else(|| mlx.map(|_| "mlx".to_owned())),
            dtype: word(dtype.or_else(|| inner("torch_dtype").or_else(|| inner("dtype")))),
            context_length: length
                .or_else(|| inner("max_position_embeddings"))
                .and_then(Value::as_u64),
        })
    }
}

/// A name that may be shown: short, of plain letters.
fn plain(text: &str) -> Option<String> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    let fits = !text.is_empty() && text.len() <= 100 && text.bytes().all(ok);
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn plain_quantised_and_multimodal_models() {
        let plain = config(
            r#"{"architectures":["Qwen2ForCausalLM"],"torch_dtype":"bfloat16","max_position_embeddings":32768}"#,
        );
        assert_eq!(plain.architecture.as_deref(), Some("Qwen2ForCausalLM"));
        assert_eq!(plain.dtype.as_deref(), Some("bfloat16"));
        assert_eq!(
            (plain.quantisation, plain.context_length),
            (None, Some(32768))
        );
        let quantised = config(
            r#"{"quantization_config":{"quant_method":"exl3","bits":4.0},"dtype":"float16"}"#,
        );
        assert_eq!(quantised.quantisation.as_deref(), Some("exl3"));
        assert_eq!(quantised.dtype.as_deref(), Some("float16"));
        let nested = config(
            r#"{"text_config":{"max_position_embeddings":8192,"dtype":"bfloat16","quantization_config":{"quant_method":"fp8"}}}"#,
        );
        assert_eq!(nested.context_length, Some(8192));
        assert_eq!(nested.quantisation.as_deref(), Some("fp8"));
        let mlx = config(r#"{"quantization":{"group_size":64,"bits":4}}"#);
        assert_eq!(mlx.quantisation.as_deref(), Some("mlx"));
    }

    #[test]
    fn odd_types_are_left_out_and_other_files_refused() {
        let odd = config(
            r#"{"architectures":"x","torch_dtype":7,"max_position_embeddings":-1,"quantization_config":[]}"#,
        );
        assert_eq!(odd, Config::default());
        assert_eq!(
            config(r#"{"architectures":["a\u001b[31m"]}"#),
            Config::default()
        );
        assert!(Config::parse(b"[]").is_err() && Config::parse(b"").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(Config::parse(&bytes));
        }

        #[test]
        fn any_values_are_read(key in "(architectures|torch_dtype|quantization_config|text_config)", value in ".*") {
            let text = serde_json::json!({ key: [value.clone(), { "quant_method": value }] });
            Config::parse(text.to_string().as_bytes()).unwrap();
        }
    }
}
