#include "broker/sim/answers.h"

#include "broker/sim/answer.h"
#include "broker/sim/answer_audio.h"
#include "broker/sim/answer_embedding.h"
#include "broker/sim/answer_image.h"
#include "broker/sim/answer_list.h"
#include "broker/sim/answer_text.h"

void sim_answer_make(const struct sim_order *order, struct sim_answer *answer) {
        switch (order->request->endpoint) {
        case SIM_ENDPOINT_CHAT:
                sim_answer_chat(order, answer);
                break;
        case SIM_ENDPOINT_RESPONSES:
                sim_answer_response(order, answer);
                break;
        case SIM_ENDPOINT_COMPLETIONS:
                sim_answer_completion(order, answer);
                break;
        case SIM_ENDPOINT_EMBEDDINGS:
                sim_answer_embedding(order, answer);
                break;
        case SIM_ENDPOINT_TRANSCRIPTIONS:
        case SIM_ENDPOINT_TRANSLATIONS:
                sim_answer_transcription(order, answer);
                break;
        case SIM_ENDPOINT_SPEECH:
                sim_answer_speech(order, answer);
                break;
        case SIM_ENDPOINT_IMAGES:
        case SIM_ENDPOINT_IMAGE_EDITS:
                sim_answer_image(order, answer);
                break;
        case SIM_ENDPOINT_RERANK:
                sim_answer_rerank(order, answer);
                break;
        case SIM_ENDPOINT_MODERATIONS:
                sim_answer_moderation(order, answer);
                break;
        case SIM_ENDPOINT_MODELS:
                sim_answer_models(order, answer);
                break;
        case SIM_ENDPOINTS:
                break;
        }
}
