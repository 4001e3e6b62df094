import * as pulumi from "@pulumi/pulumi";
export declare function getNetworkDnsMasqOptionsTemplate(args: GetNetworkDnsMasqOptionsTemplateArgs, opts?: pulumi.InvokeOptions): Promise<GetNetworkDnsMasqOptionsTemplateResult>;
/**
 * A collection of arguments for invoking getNetworkDnsMasqOptionsTemplate.
 */
export interface GetNetworkDnsMasqOptionsTemplateArgs {
    optionName: string;
    optionValue?: string;
}
/**
 * A collection of values returned by getNetworkDnsMasqOptionsTemplate.
 */
export interface GetNetworkDnsMasqOptionsTemplateResult {
    /**
     * The provider-assigned unique ID for this managed resource.
     */
    readonly id: string;
    readonly optionName: string;
    readonly optionValue?: string;
    readonly rendered: {
        [key: string]: string;
    };
}
export declare function getNetworkDnsMasqOptionsTemplateOutput(args: GetNetworkDnsMasqOptionsTemplateOutputArgs, opts?: pulumi.InvokeOutputOptions): pulumi.Output<GetNetworkDnsMasqOptionsTemplateResult>;
/**
 * A collection of arguments for invoking getNetworkDnsMasqOptionsTemplate.
 */
export interface GetNetworkDnsMasqOptionsTemplateOutputArgs {
    optionName: pulumi.Input<string>;
    optionValue?: pulumi.Input<string>;
}
