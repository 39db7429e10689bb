#pragma once
/*
 * Azure OpenAI: the OpenAI dialect under other addresses and with another key header (reference
 * providers.md section 2).
 *
 *   classic, base_url "https://NAME.openai.azure.com":
 *         /openai/deployments/DEPLOYMENT/chat/completions?api-version=2024-10-21
 *   v1, base_url "https://NAME.openai.azure.com/openai/v1":
 *         /chat/completions, the deployment's name as model
 *
 * The deployment is the upstream name. Another api-version, for the classic form: base_url
 * "https://NAME.openai.azure.com?api-version=...".
 */
#include "workers/providers/dialect.h"

extern const struct dialect azure_dialect;
