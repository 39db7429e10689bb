#!/usr/bin/env python3
"""Cuts the excerpts in data/ out of the catalogues as their owners publish them; every number stays as it was written.

usage: excerpt.py DIRECTORY, which holds litellm_model_prices.json and openrouter_models.json
"""
import json
import pathlib
import re
import sys

DATA = pathlib.Path(__file__).resolve().parent / "data"
# Links, prose and what nobody reads here.
DROPPED = {"source", "metadata", "comment", "description", "links", "canonical_slug", "hugging_face_id", "name", "created", "default_parameters", "per_request_limits",
           "supported_voices", "knowledge_cutoff", "reasoning", "design_arena"}
LITELLM = """
azure_ai/Llama-3.3-70B-Instruct cerebras/llama-3.3-70b cloudflare/@cf/meta/llama-3.3-70b-instruct-fp8-fast deepinfra/meta-llama/Llama-3.3-70B-Instruct
deepinfra/meta-llama/Llama-3.3-70B-Instruct-Turbo groq/llama-3.3-70b-versatile hyperbolic/meta-llama/Llama-3.3-70B-Instruct nebius/meta-llama/Llama-3.3-70B-Instruct
together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo-Free wandb/meta-llama/Llama-3.3-70B-Instruct
gpt-4o-mini azure/gpt-4o-mini azure/eu/gpt-4o-mini-2024-07-18 azure/us/gpt-4o-mini-2024-07-18 github_copilot/gpt-4o-mini gpt-4o-mini-audio-preview gpt-audio azure_ai/Phi-4-multimodal-instruct gpt-5.5 o3-pro azure/o3-pro
gemini/gemini-2.5-pro gemini/gemini-2.5-flash gemini-2.5-pro claude-sonnet-4-5 vertex_ai/claude-sonnet-4-5 anthropic.claude-sonnet-4-5-20250929-v1:0
eu.anthropic.claude-sonnet-4-5-20250929-v1:0 dashscope/qwen3-coder-plus dashscope/qwen-plus-2025-07-28 deepseek/deepseek-v3.2 azure_ai/deepseek-v3.2
fireworks_ai/accounts/fireworks/models/deepseek-v3p2 vertex_ai/deepseek-ai/deepseek-v3.2-maas gmi/deepseek-ai/DeepSeek-V3.2 medlm-large
gpt-3.5-turbo-instruct text-embedding-3-small azure/text-embedding-3-small github_copilot/text-embedding-3-small text-embedding-3-large
whisper-1 azure/whisper-1 groq/whisper-large-v3-turbo groq/whisper-large-v3 gpt-4o-mini-transcribe scaleway/openai/whisper-large-v3
tts-1 azure/tts-1 gpt-4o-mini-tts elevenlabs/eleven_multilingual_v2 dall-e-3 gpt-image-1 amazon.nova-canvas-v1:0 black_forest_labs/flux-pro-1.1
rerank-v3.5 azure_ai/cohere-rerank-v3.5 cohere.rerank-v3-5:0 jina-reranker-v2-base-multilingual voyage/rerank-2.5 omni-moderation-latest gpt-4o-realtime-preview sample_spec
""".split()
OPENROUTER = """
meta-llama/llama-3.3-70b-instruct deepseek/deepseek-v3.2 deepseek/deepseek-v4-flash-0731 openai/gpt-4o-mini openai/gpt-5.6-terra openai/gpt-5.6-luna openai/o3-pro
openai/gpt-3.5-turbo-instruct anthropic/claude-sonnet-4.5 anthropic/claude-opus-5 anthropic/claude-3-haiku google/gemini-2.5-pro google/gemini-2.5-flash
google/gemini-3-pro-image google/gemini-3.6-flash qwen/qwen3.7-flash qwen/qwen3.7-plus qwen/qwen3-coder-plus x-ai/grok-4.5 perplexity/sonar-deep-research
moonshotai/kimi-k3 z-ai/glm-5.2 minimax/minimax-m3 mistralai/mistral-small-3.2-24b-instruct cohere/north-mini-code:free nvidia/nemotron-3-ultra-550b-a55b
nvidia/nemotron-3-ultra-550b-a55b:free thinkingmachines/inkling openai/gpt-audio mistralai/voxtral-small-24b-2507 google/gemini-2.5-flash-image perceptron/perceptron-mk1 openrouter/auto mancer/weaver
""".split()


def read(path):
    """With every number as the text that it is."""
    text = path.read_text()
    return json.loads(text, parse_float=lambda number: "\x01" + number, parse_int=lambda number: "\x01" + number)


def write(path, value):
    text = json.dumps(value, indent=1, ensure_ascii=True)
    path.write_text(re.sub(r'"\\u0001([^"]*)"', r"\1", text) + "\n")


def without(value):
    return {name: without(part) if isinstance(part, dict) else part for name, part in value.items() if name not in DROPPED and part is not None}


def main():
    source = pathlib.Path(sys.argv[1])
    prices = read(source / "litellm_model_prices.json")
    write(DATA / "litellm.json", {name: without(prices[name]) for name in LITELLM})
    models = {model["id"]: model for model in read(source / "openrouter_models.json")["data"]}
    write(DATA / "openrouter.json", {"data": [without(models[name]) for name in OPENROUTER]})


if __name__ == "__main__":
    main()
