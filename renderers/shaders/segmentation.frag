#version 330 core
// What a pixel's center sees, without anti-aliasing: color.r the number of the thing, in 1 / 255.
// With color.b at 1 / 255 the upper eight bits of its normal come out, at 2 / 255 the lower ones.

uniform vec3 color;

in vec3 world_normal;

out vec4 frag_color;

void main()
{
    vec3 steps = round((normalize(world_normal) * 0.5 + 0.5) * 65534.0);
    vec3 upper = floor(steps / 256.0);
    int mode = int(round(color.b * 255.0));
    vec3 seen = mode == 1 ? upper / 255.0 : (steps - 256.0 * upper) / 255.0;
    frag_color = vec4(mode == 0 ? color : seen, 1.0);
}
