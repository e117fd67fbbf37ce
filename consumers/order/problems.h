/* problems.h: every problem type that this service answers with; GET /problems/{slug} tells what one means. */
#ifndef ASSENT_CONSUMERS_ORDER_PROBLEMS_H
#define ASSENT_CONSUMERS_ORDER_PROBLEMS_H

#include <assent/http.h>

void problems_get(void *app, struct assent_http_request *request);

#endif
