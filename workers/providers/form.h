#pragma once
/*
 * A job's JSON body as the fields of multipart/form-data: audio by reference, which is fetched and
 * attached by the caller.
 */
#include "workers/providers/dialect.h"

/*
 * Fields in the order of the body: strings as they are, numbers and booleans as their JSON text, arrays
 * as one "name[]" part per element, objects as JSON text; null says nothing. `model` gets the upstream
 * name; models, provider, stream and file_url are left out; the file part comes last. Everything lies in
 * out_request->body. false: out_message says why, in one sentence.
 */
bool form_fields(const struct job_spec *job, struct bytes model, struct request *out_request,
                 const char **out_message);
