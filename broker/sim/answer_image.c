#include "broker/sim/answer_image.h"

#include "broker/base/money.h"
#include "broker/sim/answer.h"
#include "broker/sim/hash.h"
#include "broker/sim/png.h"

#define SIDE_PIXELS      32
#define TOKENS_PER_IMAGE 272 /* what gpt-image-1 charges for a low-quality square */
#define IMAGES_MAX       10

static int64_t images_of(const struct sim_request *request) {
        struct bytes field = sim_form_field(&request->form, SIM_FIELD_N);
        int64_t n = sim_request_integer(request, "n", 1);

        if (field.size == 1 && field.data[0] >= '1' && field.data[0] <= '9')
                n = field.data[0] - '0';
        return n < 1 ? 1 : n > IMAGES_MAX ? IMAGES_MAX : n;
}

static void append_image(const struct sim_order *order, int64_t index, struct buffer *body) {
        struct buffer png;

        buffer_init(&png, 65536);
        sim_png_append(sim_hash_mix(order->request->content.lo, (uint64_t)index), SIDE_PIXELS, &png);
        buffer_append_string(body, index == 0 ? "{\"b64_json\":\"" : ",{\"b64_json\":\"");
        buffer_append_base64(body, png.data, png.size);
        buffer_append_string(body, "\"}");
        buffer_deinit(&png);
}

void sim_answer_image(const struct sim_order *order, struct sim_answer *answer) {
        int64_t images = images_of(order->request);

        sim_answer_bill(order, order->request->prompt_tokens, images * TOKENS_PER_IMAGE, answer);
        answer->cost_picousd = money_add(answer->cost_picousd,
                                         money_multiply(order->settings->prices.image_picousd, images));
        buffer_append_string(&answer->body, "{\"created\":");
        buffer_append_i64(&answer->body, sim_answer_created(order));
        buffer_append_string(&answer->body, ",\"output_format\":\"png\",\"data\":[");
        for (int64_t i = 0; i < images; i++)
                append_image(order, i, &answer->body);
        buffer_append_char(&answer->body, ']');
        sim_answer_usage(order, &sim_usage_input, answer);
        buffer_append_char(&answer->body, '}');
}
